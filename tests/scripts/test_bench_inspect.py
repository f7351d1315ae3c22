"""The benchmark of `inspect` at its smallest: its pictures, its ways of working, and its rows."""

import builtins

import numpy as np
import pytest
from PIL import Image

from nucleus_data.pixels import open_picture
from scripts import bench_inspect
from scripts.bench_inspect import Setting, Size

TINY = Size(pictures=2, rounds=2, seconds=0.0)


def photographs():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)) for _ in range(2)]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_inspect, "photographs", photographs)
    return bench_inspect.make_files(tmp_path / "files", 2, 320, 200)


def test_the_pictures_are_jpegs_of_the_size_and_of_real_pixels(files):
    for file, photograph in zip(files, photographs(), strict=True):
        header = open_picture(file.read_bytes()).header
        assert (header.format, header.width, header.height) == ("jpeg", 320, 200)
        filled = np.asarray(bench_inspect.filled(photograph, 100, 30))
        assert (filled[:, :60] == np.asarray(photograph)[:30]).all()
        assert (filled[:, 60:] == np.asarray(photograph)[:30, :19:-1]).all()


def test_inspect_measures_every_group_and_stops_where_one_fails(files, tmp_path):
    work = bench_inspect.inspect()
    assert len({*work(files)}) == 2
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(files[0].read_bytes()[:-300])
    with pytest.raises(RuntimeError, match="truncated"):
        work([broken])


def test_the_floor_is_a_scaled_decode_with_room_for_the_small_view(files):
    (one, _) = bench_inspect.floor()(files)
    assert one.shape == (175, 280, 3)  # 7/8: 6/8 would be 240 pixels wide
    large = bench_inspect.make_files(files[0].parent / "large", 1, 1632, 1224)
    assert bench_inspect.floor()(large)[0].shape == (306, 408, 3)


def test_a_rate_is_pictures_over_processor_time(monkeypatch, files):
    clock = iter([0.0, 0.5, 1.0, 2.5])
    monkeypatch.setattr(bench_inspect.time, "process_time", lambda: next(clock))
    calls = []
    assert bench_inspect.rate(calls.append, files, 2.0) == 3 * 2 / 2.5
    assert len(calls) == 3


def test_the_rows_of_one_size_and_what_is_not_installed(monkeypatch, files):
    def missing():
        raise ImportError

    ways = {
        "inspect": (bench_inspect.inspect, ""),
        "naive": (bench_inspect.floor, ""),
        "cleanvision": (missing, "pip install cleanvision"),
        "floor": (bench_inspect.floor, ""),
    }
    monkeypatch.setattr(bench_inspect, "WAYS", ways)
    rows = bench_inspect.bench_rates(Setting("tiny", 320, 200, ">= 4"), files, TINY)
    assert [row.name for row in rows] == [
        *(f"tiny: {name}" for name in ways),
        "tiny: inspect",
        "tiny: inspect",
    ]
    assert [(row.goal, row.against) for row in rows[-2:]] == [
        (">= 4", "naive"),
        (">= 0.4", "floor"),
    ]
    assert all(row.value > 0 for row in rows if "cleanvision" not in row.name)
    assert (rows[2].rounds, rows[2].against) == (0, "not installed: pip install cleanvision")


def test_missing_photographs_name_what_installs_them(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "skimage":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit, match="pip install scikit-image scikit-learn"):
        bench_inspect.photographs()


def test_naive_decodes_once_or_in_each_library(files):
    pytest.importorskip("cv2")
    pytest.importorskip("imagehash")
    twice, once = bench_inspect.naive()(files), bench_inspect.naive_decoding_once()(files)
    for one, other in zip(twice, once, strict=True):
        assert one[0] == other[0]
        assert one[1] == pytest.approx(other[1], rel=0.1)
        assert one[3] == pytest.approx(other[3], abs=2)


@pytest.mark.slow
def test_processes_and_memory(monkeypatch, files, tmp_path):
    monkeypatch.setattr(bench_inspect, "LARGEST", (900, 600))
    monkeypatch.setattr(bench_inspect, "peak", lambda f, _: bench_inspect.work_for(f, 0.0) / 2**20)
    setting = Setting("tiny", 320, 200, ">= 4")
    speed, others, by_processor = bench_inspect.bench_processes(setting, files, TINY)
    assert speed.value > 0
    assert others.rounds == 1
    assert by_processor.value > 0
    memory, _ = bench_inspect.bench_memory(setting, files, tmp_path / "one")
    assert memory.value > 50
