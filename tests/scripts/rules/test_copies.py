"""How the benchmark of the rules counts false pairs."""

from nucleus_data.stages.dedup.settings import DedupSettings
from scripts.rules.copies import PLAIN, among_originals, false_pairs


def row(index, phash, scene, hash256=bytes(32), size=(100, 100)):
    return {
        "fault": "none",
        "error": None,
        "index": index,
        "name": f"{index}.png",
        "sha256": f"{index:064x}",
        "phash": phash,
        "hash256": hash256,
        "width": size[0],
        "height": size[1],
        "scene": scene,
    }


def test_false_pairs_among_candidates_and_among_confirmed_ones():
    far = bytes([255] * 8) + bytes(24)  # 64 of 256 bits
    rows = [
        row(0, 0, scene=0),
        row(1, 1, scene=0),  # a copy
        row(2, 3, scene=1, hash256=far),  # near by 64 bits, not by 256
        row(3, 0xFF00, scene=2),  # far
        row(4, 7, scene=3, size=(100, 300)),  # another shape
    ]
    found = false_pairs(rows, PLAIN, DedupSettings(), lambda a, b: a["scene"] == b["scene"])
    candidates, confirmed = list(found)
    assert (candidates.value, candidates.unit) == (0.8333, "of 6")  # 4 pictures near one another
    assert candidates.against == "5e+08 a billion"  # 5 of 10
    assert (confirmed.value, confirmed.unit) == (0, "of 1")
    (measure,), listed = among_originals(rows, PLAIN, DedupSettings())
    assert measure.value == 1
    assert measure.against == "6 candidates by 64 bits among 5 pictures"
    assert listed[0] == "0.png and 1.png: confirmed"
    assert len(listed) == 6
