"""What `nucleus verdict` says on a terminal, and which pictures its page has."""

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.views.verdict import _pictures, _samples, lines
from nucleus_model.sampling.pictures import write_grid
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.judge import NAMES, judge
from nucleus_model.training.verdict.plan import PICTURES, Arm, Planned
from nucleus_model.training.verdict.power import power
from nucleus_model.training.verdict.run import RunSpec
from nucleus_model.training.verdict.sentence import UNREAD
from tests.support.model import colored_items, write_set

LOST = {"pictures": 2, "examples": {"x": "cut off"}}


def test_a_stranger_reads_the_sentence_first_and_then_what_it_stands_on(tmp_path):
    rng = np.random.default_rng(0)
    arms = [{name: 1 + rng.normal(0, 0.01, 6) for name in NAMES} for _ in "ab"]
    found = judge(*arms, pairs=False, image_tokens=(1_050_000, 1_050_000))
    content = {
        **found.as_dict(),
        "pairs": False,
        "pictures_note": "pictures are chance",
        "power": power("none such", equal=False, pairs=False, replicates=6, percent=1.4),
        "reference": {"note": "a note"},
        "arms": {"a": {"unread": {"pictures": 0}}, "b": {"unread": LOST}},
        "half_width": {"target": 1e-6, "half": 0.028, "reached": False},
        "preset": "nano",
    }
    text = list(lines(content, tmp_path))
    assert text[0] == found.sentence
    assert text.pop(1) == "about these two sets, on these held-out pictures"
    assert " ".join(text[1].split()) == "measure A B B minus A (95 % of all six) p B is"
    assert [line[2:14].rstrip() for line in text[2:8]] == [n.replace("_", " ") for n in NAMES]
    assert all(line.endswith(("equal", "not told apart")) for line in text[2:8])
    assert "6 seeds " in text[8]
    assert "not paired" in text[9]
    assert text[10:12] == ["pictures are chance", "a note"]
    assert text[12].startswith("2 pictures of B could not be read, and nothing was trained on them")
    assert "x: cut off" in text[12]
    assert text[13].startswith("the half-width of 1e-06 was not reached: that of the loss is 0.028")
    assert text[14:] == [str(tmp_path / "verdict.html")]


@pytest.mark.parametrize(
    ("preset", "name"), [("nano", "nano"), ("nano", "all-MiniLM-L6-v2"), ("debug", "nano")]
)
def test_where_nothing_was_learned_of_captions_a_text_encoder_is_proposed(tmp_path, preset, name):
    rng = np.random.default_rng(0)
    arms = [{n: 1 + rng.normal(0, 0.01, 6) for n in NAMES} for _ in "ab"]
    for arm in arms:
        arm["caption_gap"] = arm["caption_gap"] - 1
    content = {
        **judge(*arms, pairs=False, image_tokens=(9, 9)).as_dict(),
        "pairs": True,
        "power": {"by_seeds": []},
        "reference": {"note": ""},
        "text": {"name": name},
        "arms": {},
        "half_width": None,
        "preset": preset,
    }
    text = "\n".join(lines(content, tmp_path))
    assert UNREAD in text
    assert ("--text MODEL" in text) == ((preset, name) == ("nano", "nano"))


def test_a_picture_that_is_gone_costs_its_own_thumbnail_alone(tmp_path):
    items = colored_items(3)
    items[1].image = items[1].image[:60]  # torn
    folder = write_set(tmp_path / "set", items)
    rows = [{"id": item.id, "read_from": "a"} for item in items]
    plan = Planned(
        VerdictSettings(), {"a": Arm(str(folder))}, {}, pa.Table.from_pylist(rows, PICTURES)
    )
    found = _pictures(plan, {item.id for item in items[:2]})
    assert found[items[0].id].uri.startswith("data:image/jpeg;base64,")
    assert found[items[1].id].uri is None
    assert found[items[1].id].problem
    assert len(found) == 2


def test_samples_stand_prompt_by_prompt_with_seeds_that_drew(tmp_path):
    for arm, level in (("a", 10), ("b", 200)):
        folder = RunSpec(str(tmp_path), arm, 0).folder
        folder.mkdir(parents=True)
        cells = np.full((2, 1, 16, 24, 3), level, np.uint8)
        write_grid(folder, cells, ["a ring", "a star"], [0])
    found = _samples(tmp_path, {"replicates": [3, 3]})
    assert [sample.prompt for sample in found] == ["a ring", "a star"]
    ((seed, drawn),) = found[0].drawn
    assert seed == 0
    assert drawn["a"] != drawn["b"]
    assert _samples(tmp_path / "none", {"replicates": [3, 3]}) == []
