import pytest

from nucleus_data.pages import queries, sections
from nucleus_data.stages.select.curriculum import FIELD
from tests.support.reported import HASH, SELECTION, TONE, Text, make


def test_transformers_and_a_real_model_are_told_apart(whole):
    del whole.tables["caption.short"]
    whole.write_caption(
        "long", [whole.caption(0, "A stamp.", model="Qwen/Qwen3-VL", engine="transformers")]
    )
    text = Text(whole.page()).text
    assert "long: written with transformers" in text
    assert "mean nothing" not in text


def test_the_filling_of_the_curriculum_is_drawn_with_what_caps_left_out(tmp_path):
    made = make(tmp_path / "corpus", [f"{n}.jpg" for n in range(6)])
    places = [("B1", "A1"), ("B1", "A2"), ("B8", "A2"), ("B10", "A2"), (None, None), ("B2", "A1")]
    rows = [
        {**made.key(n), "state": "kept", "curriculum": bucket, "tier": tier}
        for n, (bucket, tier) in enumerate(places)
    ]
    rows[5] |= {"state": "rejected", "reasons": ["small"], "conditions": ["width < 9"]}
    made.write("selection", SELECTION.append(FIELD), rows)
    tables = queries.Tables(made.corpus, made.tables)
    training = {"left_out": [("too_small", 1, []), ("over_cap:B1", 1, ["x"])]}
    found = sections.curriculum_section(tables, training)
    assert found["buckets"] == [
        ("B1", 2, 1),
        *((f"B{k}", 0, 0) for k in range(2, 8)),
        ("B8", 1, 0),
        ("B10", 1, 0),
        ("none", 1, 0),
    ]
    assert list(found["colours"]) == ["A1", "A2", "none"]
    assert "<title>B1 A2: 1</title>" in found["chart"]
    text = Text(made.page()).text
    assert "Curriculum buckets" in text
    assert "those of B10 are shown with B9, and once more at the end" in text


def test_a_page_without_buckets_says_nothing_of_them(whole):
    assert "Curriculum" not in Text(whole.page()).text


@pytest.mark.parametrize("step", ["empty", "records", "inspected", "selected"])
def test_what_is_missing_is_said(tmp_path, step):
    made = make(tmp_path / "corpus", [] if step == "empty" else ["a.jpg", None])
    if step in ("inspected", "selected"):
        made.write("inspect.tone", TONE, [{**made.key(0), "luma_mean": 0.5}])
    if step == "selected":
        decisions = [{"state": "kept"}, {"state": "failed", "reasons": ["http_404"]}]
        made.write("selection", SELECTION, [{**made.key(n), **d} for n, d in enumerate(decisions)])
    made.tables["caption.short"] = HASH  # pinned by the plan, no row yet
    text = Text(made.page("sets/main/unfinished")).text
    assert "has no manifest" in text
    assert "No model was trained" in text
    assert "No stage of this run has finished" in text
    assert ("No record is decided yet" in text) == (step != "selected")
    assert ("No caption has been written yet" in text) == (step == "selected")
    assert ("The corpus has no records" in text) == (step == "empty")
    if step == "selected":
        assert "2 records = 1 kept + 1 failed" in text
        assert "This run made no training set yet" in Text(made.page()).text
