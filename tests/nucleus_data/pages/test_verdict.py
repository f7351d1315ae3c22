"""The page of a verdict: its sentence first, differences drawn, no text interpreted."""

from nucleus_data.pages.forest import Line, forest
from nucleus_data.pages.pictures import Picture
from nucleus_data.pages.verdict import render_verdict

BAD = "<script>alert(1)</script>"


def finding(name, direction, low):
    return {
        "measure": {"name": name, "about": "all", "better": -1, "help": "a help"},
        "a": 1.0,
        "b": 0.9,
        "interval": {"mean": -0.1, "low": low, "high": -0.05},
        "p": 0.01,
        "p_flips": None,
        "detectable": 0.04,
        "direction": direction,
    }


def content():
    row = {"name": "0 to 1", "pictures": 40, "a": 1.0, "b": 0.9, "low": None, "high": 0.1}
    curve = {
        "tokens": [1, 2],
        **{kind: {arm: [1.0, 0.5] for arm in "ab"} for kind in ("mean", "low", "high")},
    }
    arm = {"name": BAD, "edition": None, "pictures": 9, "epochs": 1.5}
    return {
        "sentence": "B is better",
        "claim": "these",
        "preset": "debug",
        "pairs": False,
        "replicates": [3, 3],
        "steps": 2,
        "image_tokens": 512,
        "arms": {"a": arm, "b": arm},
        "shared": {"both": 1, "a_only": 2, "b_only": 3},
        "reference": {"pictures": 4, "words": "held out", "note": BAD},
        "findings": [finding("loss", 1, None), finding("caption_gap", 0, -0.2)],
        "new_pictures": None,
        "bins": [row],
        "groups": {"size": [row], "none": []},
        "curves": {"loss": curve},
        "gained": [{"id": "x", "difference": -0.1, "caption": BAD}],
        "lost": [{"id": "not shown", "difference": 0.1, "caption": "a"}],
        "limits": ["a limit"],
    }


def test_the_sentence_and_what_differs_are_shown_and_nothing_is_interpreted():
    page = render_verdict(content(), {"x": Picture("data:image/jpeg;base64,AA==")})
    assert '<h1 class="sentence">B is better</h1>' in page
    assert "unbounded" in page
    assert "no pairs" in page
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 4
    assert "not shown" not in page


def test_better_is_to_the_right_and_unbounded_reaches_the_edge():
    low = float("-inf")
    drawn = forest([Line("a", 1.0, low, 2.0, "better", BAD)], "units")
    assert '<g class="forest better">' in drawn
    assert "<script" not in drawn
    assert "M190.0 33.0H" in drawn
