import json

import numpy as np
import pytest
from PIL import Image

from scripts import bench_distance
from scripts.copies.originals import texture


def codes(rows):
    """Codes of (file, phash, hash256) rows."""
    words = [(np.uint64(wide) * np.ones(4, np.uint64)) for _, _, wide in rows]
    return bench_distance.Codes(
        np.array([row[1] for row in rows], np.uint64),
        np.array(words, np.uint64),
        np.full((len(rows), 2), 100, np.int64),
        np.array([row[0] for row in rows], np.int64),
    )


def test_pairs_of_one_file_are_not_compared_and_near_ones_are_found(monkeypatch):
    monkeypatch.setattr(bench_distance, "BLOCK", 2)
    some = codes([(0, 0, 1), (0, 1, 1), (1, 3, 1), (2, 2**64 - 1, 1), (2, 0b111, 2**63)])
    compared, pairs, distances = bench_distance.near(some)
    assert compared == 8
    found = {tuple(pair): d for pair, d in zip(pairs.tolist(), distances.tolist(), strict=True)}
    assert found == {(0, 2): 2, (1, 2): 1, (0, 4): 3, (1, 4): 2, (2, 4): 1}
    assert some.confirmed(pairs[:, 0], pairs[:, 1]).all()


@pytest.mark.slow
def test_the_table_counts_copies_and_pairs_of_different_files(tmp_path, capsys):
    for number in range(3):
        texture(number, 400, 300).save(tmp_path / f"{number}.png")
    Image.new("RGB", (300, 200), "white").save(tmp_path / "blank.png")
    (tmp_path / "none.png").write_bytes(b"no picture")
    out, show = tmp_path / "rows.json", tmp_path / "pairs.txt"
    arguments = ["--pictures", str(tmp_path), "--quick", "--workers", "1", "--json", str(out)]
    assert bench_distance.main([*arguments, "--show", str(show), "--copied", "5"]) == 0
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    assert rows["copies within 12"]["value"] >= rows["copies within 4"]["value"] > 0.5
    assert rows["files: candidates within 4"]["against"] == "0 of 3 pairs"
    assert rows["tiles: candidates within 2"]["against"].endswith("pairs")
    assert show.read_text() == ""
    assert "copies within 8" in capsys.readouterr().out
