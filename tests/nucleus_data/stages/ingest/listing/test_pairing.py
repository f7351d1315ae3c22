import time

import pytest

from nucleus_data.stages.ingest.listing.pairing import paired
from nucleus_data.stages.ingest.listing.tar_walk import Member


def pairs(text):
    """Pairs names that stand in one line, as they stand in a tar; `|` is a member between them."""
    names, run = [], 0
    for name in text.split():
        run += name == "|"
        if name != "|":
            names.append((run, name))
    members = [(i, run, Member(name, i, 1)) for i, (run, name) in enumerate(names)]
    found = paired(members)
    written = {
        sample.key: tuple(m and f"{m.name}@{m.offset}" for m in (sample.caption, sample.json))
        for sample in found.samples
    }
    assert len(written) == len(found.samples)  # each key is there once
    return {key: " ".join(m for m in both if m) for key, both in written.items()}, found


# Names in a tar's order -> key: what it has. Words after `lost` and `further` are left over.
CASES = {
    "22.05.png 22.05.txt": {"22": "22.05.txt@1"},
    "22.05.png 22.05.txt 22.06.png 22.06.txt": {"22.05": "22.05.txt@1", "22.06": "22.06.txt@3"},
    "22.05.png | 22.06.png | 22.06.txt | 22.05.txt": {
        "22.05": "22.05.txt@3",
        "22.06": "22.06.txt@2",
    },
    "a.jpg | a.txt": {"a": "a.txt@1"},
    "a.txt | a.jpg": {"a": "a.txt@0"},
    # Endings, in any case of letters; a picture's whole name.
    "a.jpg a.TXT a.Json": {"a": "a.TXT@1 a.Json@2"},
    "a.jpg a.caption": {"a": "a.caption@1"},
    "a.jpg a.jpg.txt": {"a": "a.jpg.txt@1"},
    "a.jpg | a.jpg.json": {"a": "a.jpg.json@1"},
    "22.05.png 22.05.png.txt 22.06.png": {"22.05": "22.05.png.txt@1", "22.06": ""},
    # Webdataset's own: the text has the sample's key, the picture a further ending.
    "b.v2.png b.json": {"b": "b.json@1"},
    "b.v2.png | b.json": {"b": "b.json@1"},
    "b.v2.png b.json | b.v2.png b.json": {"b": "b.json@1", "b.1": "b.json@3"},
    "b.json b.v2.png b.v2.json": {"b": "b.v2.json@2", "lost": "", "further": "b.json"},
    # A second picture of a sample has no text, wherever it stands.
    "x.jpg x.mask.png x.txt": {"x": "x.txt@2", "x.mask": ""},
    "x.mask.png x.jpg x.txt": {"x.mask": "", "x": "x.txt@2"},
    "x.jpg | x.mask.png | x.txt | x.json": {"x": "x.txt@2 x.json@3", "x.mask": ""},
    "x.jpg x.png x.txt x.json": {"x": "x.txt@2 x.json@3", "x.1": ""},
    "x.jpg | x.png | x.txt": {"x": "x.txt@2", "x.1": ""},
    "x.jpg x.txt | x.png": {"x": "x.txt@1", "x.1": ""},
    "x.jpg x.png | x.txt | x.caption": {"x": "x.txt@2", "x.1": "", "further": "x.caption"},
    "x.jpg x.mask.png x.mask.txt": {"x": "", "x.mask": "x.mask.txt@2"},
    "x.jpg x.png x.png.txt": {"x": "", "x.1": "x.png.txt@2"},
    # Whose text is it? Nobody's.
    "x.left.png x.right.png x.txt": {"x.left": "", "x.right": "", "lost": "x.txt"},
    "22.05.png | 22.06.png | 22.txt": {"22.05": "", "22.06": "", "lost": "22.txt"},
    "22.05.png 22.5.txt": {"22": "", "lost": "22.5.txt"},
    "a.txt a.json": {"lost": "a.txt a.json"},
    "a.jpg a.txt a.caption": {"a": "a.txt@1", "further": "a.caption"},
    # Names that come again: their neighbours, then in order.
    "a.jpg a.txt | a.jpg a.txt": {"a": "a.txt@1", "a.1": "a.txt@3"},
    "a.jpg | a.jpg a.txt": {"a": "", "a.1": "a.txt@2"},
    "a.jpg | a.jpg | a.txt | a.txt": {"a": "a.txt@2", "a.1": "a.txt@3"},
    "a.jpg | a.jpg | a.1.jpg": {"a": "", "a.2": "", "a.1": ""},
}


@pytest.mark.parametrize("names", CASES)
def test_pairs(names):
    expected = dict(CASES[names])
    lost, further = expected.pop("lost", ""), expected.pop("further", "")
    found, rest = pairs(names)
    assert found == expected
    assert " ".join(m.name for m in rest.lost) == lost
    assert " ".join(m.name for m in rest.further) == further


@pytest.mark.parametrize(
    ("names", "seconds"),
    [
        ("x.jpg x.mask.png x.txt", ["x.mask.png"]),
        ("x.jpg x.png", ["x.png"]),
        ("x.jpg | x.jpg", []),
        ("x.jpg x.mask.png x.mask.txt", []),
        ("22.05.png 22.06.png", []),
    ],
)
def test_second_pictures(names, seconds):
    assert [s.picture.name for s in pairs(names)[1].seconds] == seconds


@pytest.mark.slow
def test_pairing_takes_time_in_proportion():
    n = 5000
    for names in (
        [f"2024.{i}.jpg" for i in range(n)] + [f"2024.{i}.txt" for i in range(n)],
        ["a.jpg", "a.txt"] * n,
        ["a.jpg"] * n + ["a.txt"] * n,
        ["a.jpg"] + ["a.txt"] * n,
        ["a.jpg"] * n + [f"a.{i}.jpg" for i in range(n)],
    ):
        started = time.process_time()
        paired((i, i, Member(name, i, 1)) for i, name in enumerate(names))
        assert time.process_time() - started < 2
