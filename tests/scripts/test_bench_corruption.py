"""How the benchmark of silent corruption counts false alarms."""

from scripts import bench_corruption
from tests.scripts.corruption.noisy import encode, scene


def test_the_benchmark_counts_alarms_and_passes_over_missing_folders(tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(encode(scene()))
    assert bench_corruption.main(["--drawings", str(tmp_path), str(tmp_path / "none")]) == 1
    said = capsys.readouterr().out
    assert f"no folder {tmp_path / 'none'}" in said
    assert "clean drawings" in said  # too few of them
    assert "false alarm:" not in said
    (tmp_path / "b.jpg").write_bytes(encode(scene(seed=1))[:-500])
    bench_corruption.main(["--drawings", str(tmp_path)])
    assert f"false alarm: {tmp_path / 'b.jpg'}, as shipped: truncated" in capsys.readouterr().out
    assert bench_corruption.main(["--clean", str(tmp_path / "none")]) == 0
