import pytest

from tests.support.reported import HASH, SELECTION, TONE, Text, make


def test_transformers_and_a_real_model_are_told_apart(whole):
    del whole.tables["caption.short"]
    whole.write_caption(
        "long", [whole.caption(0, "A stamp.", model="Qwen/Qwen3-VL", engine="transformers")]
    )
    text = Text(whole.page()).text
    assert "long: written with transformers" in text
    assert "mean nothing" not in text


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
