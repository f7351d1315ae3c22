"""The page of a verdict: its sentence first, differences drawn, no text interpreted."""

import re

from nucleus_data.pages.pictures import Picture
from nucleus_data.pages.verdict import Sample, called, css, render_verdict

BAD = "<script>alert(1)</script>"


def finding(name, direction, low, *, equal=False, counts=True):
    return {
        "measure": {
            "name": name,
            "about": "all",
            "better": -1,
            "help": "a help",
        },
        "a": 1.0,
        "b": 0.9,
        "interval": {"mean": -0.1, "low": low, "high": -0.05},
        "p": 0.01,
        "p_flips": None,
        "detectable": 0.04,
        "ratio": {"mean": 0.9, "low": 0.85, "high": 0.95} if direction else None,
        "direction": direction,
        "counts": counts,
        "equal": equal,
        "within": 0.02,
    }


def row(name, pictures=40):
    return {"name": name, "pictures": pictures, "a": 1.0, "b": 0.9, "low": None, "high": 0.1}


def content(**changes):
    curve = {
        "tokens": [1, 2, 3],
        **{kind: {arm: [1.0, None, 0.5] for arm in "ab"} for kind in ("mean", "low", "high")},
    }
    arm = {"name": BAD, "edition": None, "pictures": 9, "copies": {"pictures": 4, "of": 10}}
    arm |= {"epochs": 1.5, "image_tokens": 512, "unread": {"pictures": 0, "examples": {}}}
    return {
        "sentence": "B is better",
        "claim": "these",
        "preset": "debug",
        "text": {"name": "all-MiniLM-L6-v2"},
        "pairs": False,
        "pictures_note": BAD,
        "replicates": [3, 3],
        "steps": 2,
        "image_tokens": 512,
        "arms": {"a": arm, "b": arm},
        "shared": {"both": 1, "a_only": 2, "b_only": 3},
        "reference": {"pictures": 4, "missing": 2, "words": "held out", "note": BAD},
        "findings": [finding("loss", 1, None), finding("caption_gap", 0, -0.2)],
        "power": {
            "measure": "loss",
            "pictures": "other pictures",
            "before": None,
            "percent": 0.7,
            "by_seeds": [{"seeds": 3, "sees": 1.9}],
        },
        "new_pictures": None,
        "half_width": None,
        "bins": [row("0 to 1")],
        "groups": {"size": [row("64 x 64"), row(BAD)], "none": []},
        "groups_hidden": {"size": 7},
        "groups_notes": [BAD],
        "curves": {"loss": curve},
        "at_tokens": {"loss": [row("256 image tokens")]},
        "routers": [],
        "objects": [],
        "gained": [{"id": "x", "difference": -0.1, "caption": BAD}],
        "lost": [{"id": "not shown", "difference": 0.1, "caption": "a"}],
        "limits": ["a limit"],
        **changes,
    }


def test_the_sentence_and_what_differs_are_shown_and_nothing_is_interpreted():
    page = render_verdict(
        content(),
        {"x": Picture("data:image/jpeg;base64,AA==")},
        [
            Sample(
                BAD, [(0, {"a": "data:image/png;base64,AA==", "b": "data:image/png;base64,BB=="})]
            )
        ],
    )
    head = '<h1 class="sentence">B is better</h1>\n  <p class="lead">About these.</p>'
    assert head in page
    assert "unbounded" in page
    assert "seeds are not paired; &lt;script&gt;" in page
    assert "preset debug, text encoder all-MiniLM-L6-v2<" in page
    assert "2 more could not be decoded" in page
    assert "7 smaller groups not shown" in page
    copies = "(in the whole set, 4 of 10 are copies of others in it)"
    assert page.count(f"9 pictures {copies}, 1.50 epochs") == 2
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 8
    assert "not shown</" not in page.replace("groups not shown</", "")
    assert page.index("A, seed 0") < page.index("B, seed 0")


def test_the_interval_for_other_pictures_is_shown_if_there_is_one():
    words = "For other pictures of the same kind"
    assert words not in render_verdict(content(), {})
    page = render_verdict(content(new_pictures={"mean": -0.1, "low": -0.25, "high": 0.05}), {})
    assert f"{words} (seeds and pictures both drawn): loss -0.1000, -0.2500 to +0.0500." in page


def test_equal_is_not_what_is_not_told_apart():
    assert called(finding("loss", 0, 0.0)) == "not told apart"
    assert called(finding("loss", 0, 0.0, equal=True)) == "equal"
    assert called(finding("loss", -1, 0.0)) == "worse"


def test_what_does_not_count_is_neither_better_nor_worse():
    found = finding("high_sigma", 1, -0.2, counts=False)
    assert (called(found), css(found)) == ("lower", "equal")
    assert css(finding("loss", 1, -0.2)) == "better"


def test_of_hundreds_of_groups_some_are_drawn_and_all_are_listed():
    rows = [{**row(f"source {n:03}"), "b": 1 + n / 1000} for n in range(300)]
    page = render_verdict(content(groups={"source": rows}), {})
    drawn = re.findall(r'<g class="forest described"><title>(source \d+)', page)
    assert drawn == [f"source {n:03}" for n in range(299, 275, -1)]
    assert page.count('<td class="any">source ') == 300
    assert "all 300 as a table" in page


def test_a_hundred_pictures_are_shown_those_that_failed_too():
    gained = [{"id": f"{n}", "difference": -0.1, "caption": None} for n in range(100)]
    pictures = {f"{n}": Picture(None, f"gone {n}") for n in range(100)}
    page = render_verdict(content(gained=gained), pictures)
    assert page.count('<div class="frame none">') == 100
    assert "76 more" in page
    assert page.count("no caption") == 100


def test_curves_are_bands_and_what_was_not_finite_is_left_out():
    page = render_verdict(content(), {})
    assert page.count('<path class="band line-a"') == 1
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_large_ratios_are_written_out_in_percent():
    found = finding("caption_gap", 1, 0.0)
    found["ratio"] = {"mean": 8.754, "low": 5.38, "high": 0.9516}
    page = render_verdict(content(findings=[found]), {})
    assert "<b>+775 %</b><br>+438 to -4.8<" in page
