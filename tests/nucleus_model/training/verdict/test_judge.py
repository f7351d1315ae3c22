"""From replicates to a sentence."""

import json
import re

import numpy as np
import pytest

from nucleus_model.training.verdict.judge import NAMES, Claim, judge

BASE = {
    "loss": 1.02,
    "low_sigma": 1.3,
    "high_sigma": 0.3,
    "caption_gap": 0.18,
    "empty_gap": 0.1,
    "memorised": -0.01,
}
COPIES = "44 % of B's pictures are copies of others in it (none of A's)"


def arm(seed: int, replicates: int = 6, **changes: float) -> dict[str, np.ndarray]:
    """Replicates around usual values; seeds of both arms share most of their noise."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    return {
        name: value
        + changes.get(name, 0.0)
        + shared.normal(0, 0.02, replicates)
        + own.normal(0, 0.002, replicates)
        for name, value in BASE.items()
    }


def test_better_captions_are_called_so_and_by_how_much() -> None:
    found = judge(arm(1), arm(2, caption_gap=0.056, high_sigma=-0.05, loss=-0.02))
    assert found.word == "better"
    assert found.sentence.startswith("B is better: captions carry 3")
    assert "pictures equal" in found.sentence
    assert found.sentence.endswith("6 seeds")


def test_worse_pictures_are_not_blamed_on_captions() -> None:
    found = judge(arm(1), arm(2, low_sigma=0.1, loss=0.03))
    assert found.word == "worse"
    assert "captions equal, pictures worse (loss at little noise 7.7 % higher, 7.5 to 7.9)" in (
        found.sentence
    )


def test_captions_of_which_nothing_was_learned_are_not_called_equal() -> None:
    a, b = (arm(seed, caption_gap=-BASE["caption_gap"]) for seed in (1, 2))
    unread = "captions are not judged, as nothing was learned of them"
    found = judge(a, b)
    assert found.word == "no difference"
    assert f"of the loss, and {unread}; 6 seeds" in found.sentence
    worse = judge(a, {**b, "low_sigma": b["low_sigma"] + 0.1})
    assert worse.sentence.startswith(f"B is worse: {unread}, pictures worse")
    assert unread not in judge(arm(1), arm(2)).sentence


def test_facts_are_stated_whatever_the_word_is() -> None:
    same = judge(arm(1), arm(2), facts=[COPIES])
    assert same.word == judge(arm(1), arm(2)).word == "no difference"
    assert same.sentence.endswith(f"of the loss; {COPIES}; 6 seeds")
    worse = judge(arm(1), arm(2, low_sigma=0.1, loss=0.03), facts=["a fact", COPIES])
    assert worse.sentence.startswith("B is worse")
    assert worse.sentence.endswith(f"; a fact; {COPIES}; 6 seeds")


def test_duplicates_are_named() -> None:
    assert "it is memorised more" in judge(arm(1), arm(2, memorised=-0.05)).sentence


def test_equal_is_said_only_where_the_interval_lies_within_the_margin() -> None:
    b = arm(2, caption_gap=0.056)
    b["low_sigma"] = b["low_sigma"] + np.array([0.1, -0.1, 0.08, -0.08, 0.1, -0.1])
    found = judge(arm(1), b)
    assert "pictures not told apart" in found.sentence
    assert "memoris" not in found.sentence  # nothing was seen of duplicates
    by_name = {each.measure.name: each for each in found.findings}
    assert not by_name["low_sigma"].equal
    assert judge(arm(1), arm(2)).findings[1].equal
    # A difference that is sure is no equality, however small it is.
    assert not any(each.equal and each.direction for each in found.findings)


def test_an_interval_of_a_ratio_may_reach_over_no_difference() -> None:
    a, b = arm(1), arm(2)
    b["caption_gap"] = a["caption_gap"] + np.array([0.03, 0.05, 0.04, 0.03, 0.05, 0.04])
    text = judge(a, b).sentence
    low, high = text[text.index("(") + 1 : text.index(")")].split(" to ")
    assert float(low) < float(high)


def test_the_sentence_reads_as_people_want_it() -> None:
    b = arm(2, caption_gap=0.056, high_sigma=-0.05, loss=-0.02)
    text = judge(arm(1), b, image_tokens=(1_050_000, 1_050_000)).sentence
    assert re.fullmatch(
        r"B is better: captions carry \d+ % more \(\d+ to \d+\), pictures equal; "
        r"6 seeds, 2\.1 M image tokens",
        text,
    )
    none = judge(arm(1), arm(2), image_tokens=(3840, 3840)).sentence
    assert re.fullmatch(
        r"no difference that this run could have seen; the smallest it could see is "
        r"0\.\d+ % of the loss; 6 seeds, 7,680 image tokens",
        none,
    )


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ((4880, 4608), "9,488 image tokens (4,880 in A, 4,608 in B)"),
        ((1_200_000, 900_000), "2.1 M image tokens (1.2 M in A, 0.9 M in B)"),
        ((1_050_064, 1_050_000), "2.1 M image tokens (1,050,064 in A, 1,050,000 in B)"),
    ],
)
def test_arms_with_other_numbers_of_tokens_are_told_with_both(tokens, words) -> None:
    assert judge(arm(1), arm(2), image_tokens=tokens).sentence.endswith(f"6 seeds, {words}")


def test_of_seeds_that_are_no_pairs_it_is_said_and_ratios_are_told_all_the_same() -> None:
    found = judge(arm(1), arm(2, caption_gap=0.2), pairs=False)
    assert re.search(r"captions carry \d+ % more \(\d+ to \d+\)", found.sentence)
    assert "6 unpaired seeds" in found.sentence


def test_of_equals_the_smallest_visible_difference_is_told() -> None:
    found = judge(arm(1), arm(2))
    assert found.word == "no difference"
    assert "the smallest it could see is" in found.sentence
    assert all(finding.direction == 0 for finding in found.findings)


def test_one_way_better_and_another_worse_is_said() -> None:
    found = judge(arm(1), arm(2, caption_gap=0.05, low_sigma=0.1))
    assert found.word == "mixed"
    assert "better in one way and worse in another" in found.sentence


def test_what_speaks_against_the_first_is_not_left_out() -> None:
    # As duplicates do: captions carry more, and the loss is higher.
    b = arm(2, caption_gap=0.06, high_sigma=0.03, loss=0.04, memorised=-0.05)
    text = judge(arm(1), b).sentence
    assert re.search(r"captions carry \d+ % more \(\d+ to \d+\), pictures equal", text)
    assert "it is memorised more" in text
    assert re.search(r", loss 3\.\d % higher, 3\.\d to \d\.\d; 6 seeds$", text)


def test_the_loss_at_much_noise_decides_nothing_and_is_told() -> None:
    # As a tenth of blurred pictures does.
    alone = judge(arm(1), arm(2, high_sigma=-0.02))
    assert alone.word == "no difference"
    assert re.fullmatch(
        r"no difference that makes B better or worse \(loss at much noise 7\.\d % lower, "
        r"\d\.\d to \d\.\d\); the smallest that this run could have seen is 0\.\d+ % of the loss; "
        r"6 seeds",
        alone.sentence,
    )
    blurred = judge(arm(1), arm(2, high_sigma=-0.02, low_sigma=0.1, loss=0.03))
    assert blurred.word == "worse"
    assert re.search(r"pictures worse \(.*\), but loss at much noise 7\.\d % l", blurred.sentence)
    gap = judge(arm(1), arm(2, high_sigma=0.02, caption_gap=-0.05))
    assert (gap.word, "much noise" in gap.sentence) == ("worse", False)


@pytest.mark.parametrize(("turn", "word"), [(1, "worse"), (-1, "better")])
def test_a_gap_that_changes_as_the_loss_at_much_noise_does_not_count(turn: int, word: str) -> None:
    # As of noisy or blocky pictures: all losses rise, and what captions save with them.
    both = {"low_sigma": 0.1, "loss": 0.03, "high_sigma": 0.06, "caption_gap": 0.036}
    found = judge(arm(1), arm(2, **{name: turn * change for name, change in both.items()}))
    assert found.word == word
    change = "higher" if turn == 1 else "lower"
    assert re.search(
        rf"captions not told apart, pictures {word} .*, but what true captions save \d+ % {change}"
        r", \d+ to \d+, as the loss at much noise; 6 seeds$",
        found.sentence,
    )
    assert [f.measure.name for f in found.findings if f.direction and not f.counts] == [
        "high_sigma",
        "caption_gap",
    ]
    # One that changes by more is a change of the captions.
    more = judge(arm(1), arm(2, **{**both, "caption_gap": 0.1}))
    assert more.word == "mixed"
    assert "captions carry 5" in more.sentence


def test_the_arms_change_places() -> None:
    a, b = arm(1), arm(2, caption_gap=0.05)
    one, other = judge(a, b), judge(b, a)
    assert (one.word, other.word) == ("better", "worse")
    for x, y in zip(one.findings, other.findings, strict=True):
        assert x.p == pytest.approx(y.p)
        assert x.interval.low == pytest.approx(-y.interval.high)


def test_what_are_no_pairs_is_judged_more_carefully() -> None:
    a, b = arm(1), arm(2, loss=-0.012)
    assert judge(a, b).word == "better"
    found = judge(a, b, Claim.RECIPES, pairs=False)
    assert found.word == "no difference"
    assert all(finding.p_flips is None for finding in found.findings)


@pytest.mark.slow
def test_the_pilot_decides_the_degrees() -> None:
    a, b = arm(1, 12), arm(2, 12, loss=-0.01)
    assert judge(a, b, pilot=6).findings[0].interval.degrees == 5
    assert judge(a, b).findings[0].interval.degrees == 11
    apart = judge(a, b, pilot=6, pairs=False).findings[0].interval
    assert apart.degrees <= 10


def test_the_json_has_all_measures_and_no_infinity() -> None:
    text = json.dumps(judge(arm(1), arm(2)).as_dict(), allow_nan=False)
    assert [each["measure"]["name"] for each in json.loads(text)["findings"]] == list(NAMES)


def test_a_missing_measure_is_named() -> None:
    a = arm(1)
    del a["empty_gap"]
    with pytest.raises(ValueError, match="a lacks the measures empty_gap"):
        judge(a, arm(2))
