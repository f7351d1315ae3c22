"""Truth tests of captions, with engines that pretend (`scripts.truth`)."""

import functools

import numpy as np
import pytest

from nucleus_data.engines.captioner import Ask, Generated, Sampling
from nucleus_data.stages.caption.prompts import PROMPTS
from nucleus_data.stages.caption.truth.asking import TOKENS, thumbnail
from nucleus_data.stages.caption.truth.choosing import dissimilar
from nucleus_data.stages.caption.truth.probes import FEWEST, Probes
from nucleus_data.stages.caption.truth.words import told
from scripts.truth.engines import MODELS, REFUSAL, Broken, Pretended, ask_of, draw_pictures
from scripts.truth.running import decoding, row_of, run_probes
from tests.support.quick import quick

pictures = functools.cache(draw_pictures)
COUNT = 160


class Listening(Pretended):
    """Notes what it is asked."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.asked = []
        self.others = []

    def submit(self, prepared):
        self.asked += [ask for ask, _ in prepared.work]
        self.others.append(self.pending())
        super().submit(prepared)


def alone_of(engine):
    return [ask for ask in engine.asked if ask.key.startswith("probe/")]


@pytest.mark.slow
@pytest.mark.parametrize("model", quick(MODELS, 2))
@pytest.mark.parametrize("copies", quick([1, 20], 1))
def test_a_right_engine_is_never_stopped_whatever_its_model_says_and_batching_changes(
    model, copies
):
    shown = pictures(3, COUNT, copies=copies)
    found = run_probes(Pretended(shown, MODELS[model], noise=0.1), shown, "short")
    assert not found.stopped
    assert not found.warned
    assert found.counts["truth_probes"] == 32


WRONG = [
    ("swap", 0.1, "caption of another one"),
    ("off_by_one", 1.0, "caption of another one"),
    ("stale", 0.1, "caption of another one"),
    ("same_size", 1.0, "caption of another one"),
    ("blind", 1.0, "does not see them"),
    ("blind_in_crowd", 0.2, "which none of them gets when captioned alone"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "share", "says"), quick(WRONG, 1, 3))
@pytest.mark.parametrize("variant", quick(["very_short", "long"], 1))
def test_a_wrong_engine_is_stopped_with_what_was_found_and_what_to_do(fault, share, says, variant):
    shown = pictures(4, COUNT)
    found = run_probes(Broken(Pretended(shown, noise=0.05), fault, share), shown, variant)
    assert says in found.stopped
    assert "caption.engine=transformers" in found.stopped
    assert "caption.probes=0" in found.stopped


@pytest.mark.slow
def test_a_question_with_one_answer_for_nearly_all_pictures_is_not_taken_for_a_blind_model():
    shown = pictures(3, COUNT)
    found = run_probes(Pretended(shown, MODELS["watermark"]), shown, "short")
    assert found.counts["truth_like_grey"] > 2
    assert found.counts["truth_blind"] == 0
    assert (found.stopped, found.warned) == ("", False)


@pytest.mark.parametrize("fault", quick(["swap", "off_by_one", "stale", "same_size"], 1))
def test_labels_of_other_pictures_stop_a_run_though_many_pictures_rightly_share_them(fault):
    shown = pictures(4, COUNT)
    found = run_probes(Broken(Pretended(shown, MODELS["labels"], 0.05), fault), shown, "short")
    assert "hardly more than those for other pictures" in found.stopped or (
        "have the caption of another one" in found.stopped
    )


def test_some_labels_of_the_picture_before_stop_a_run():
    """Half of the labels still agree, but those that do not are always the neighbour's."""
    shown = pictures(4, 280)
    found = run_probes(Broken(Pretended(shown, MODELS["labels"]), "stale", 0.5), shown, "short")
    assert "have the caption of another one" in found.stopped


def test_two_thirds_of_labels_swapped_are_warned_of_at_least():
    shown = pictures(6, 280)
    found = run_probes(Broken(Pretended(shown, MODELS["labels"]), "swap", 0.67), shown, "short")
    assert found.stopped or found.counts["truth_doubtful"] > 10
    assert found.warned


@pytest.mark.parametrize("model", quick(["labels", "watermark"], 2))
@pytest.mark.parametrize("seed", quick(range(6), 2))
def test_answers_of_few_kinds_may_differ_in_a_third_of_pictures(model, seed):
    shown = pictures(seed, COUNT)
    found = run_probes(Pretended(shown, MODELS[model], 0.3, seed), shown, "short")
    assert (found.stopped, found.warned) == ("", False)


@pytest.mark.slow
def test_long_captions_that_all_differ_a_little_are_right():
    shown = pictures(3, COUNT)
    found = run_probes(Pretended(shown, noise=1.0), shown, "long")
    assert (found.stopped, found.warned) == ("", False)
    assert found.counts["truth_same"] < 16


@pytest.mark.parametrize("share", quick([0.8, 0.5, 0.95], 1))
@pytest.mark.parametrize("seed", quick(range(5), 2))
def test_a_model_that_is_blind_at_random_is_noticed(share, seed):
    shown = pictures(4, COUNT)
    found = run_probes(Broken(Pretended(shown), "blind", share, seed), shown, "short")
    assert found.stopped or found.warned


def test_a_model_that_is_blind_at_times_is_stopped_with_how_often():
    shown = pictures(4, COUNT)
    found = run_probes(Broken(Pretended(shown), "blind", 0.8, 1), shown, "short")
    assert "just like grey ones: it does not see them at times" in found.stopped


def test_a_model_that_refuses_grey_pictures_and_some_others_is_not_stopped_but_warned_of():
    def refusing(seed, index, question):
        refuses = index is None or index % 3 == 0
        return REFUSAL if refuses else MODELS["world"](seed, index, question)

    shown = pictures(3, COUNT)
    found = run_probes(Pretended(shown, refusing, 0.1), shown, "short")
    assert not found.stopped
    assert found.counts["truth_blind"] > 1
    assert found.warned


def test_probes_are_asked_alone_and_fresh_and_short_and_of_the_same_question():
    shown = pictures(3, COUNT)
    engine = Listening(shown)
    run_probes(engine, shown, "long", most=8)
    asked = alone_of(engine)
    assert 8 <= len(asked) <= 16
    for ask, others in zip(engine.asked, engine.others, strict=True):
        if ask in asked:
            assert ask.fresh
            assert others == 0
            assert ask.question == PROMPTS["long"]
            assert ask.sampling == Sampling(max_tokens=TOKENS)
        else:
            assert not ask.fresh


def test_few_pictures_have_few_probes_and_fewest_none():
    for count, probes in ((FEWEST - 1, 0), (FEWEST, 2), (40, 10), (COUNT, 32)):
        shown = pictures(3, count)
        engine = Listening(shown)
        found = run_probes(engine, shown, "short")
        assert found.counts.get("truth_probes", 0) == probes
        assert len(alone_of(engine)) <= 2 * probes + 2


def test_an_engine_that_is_often_idle_is_not_asked_ever_again():
    shown = pictures(3, COUNT)
    engine = Listening(shown)
    found = run_probes(engine, shown, "short", idle_at=2)
    assert found.counts["truth_probes"] == 32
    assert len(alone_of(engine)) <= 32 + 8 + 16


def test_none_are_asked_where_they_are_turned_off():
    shown = pictures(3, COUNT)
    engine = Listening(shown)
    assert run_probes(engine, shown, "short", most=0).counts == {}
    assert alone_of(engine) == []


@pytest.mark.slow
def test_pictures_are_let_go_when_all_is_asked():
    shown = pictures(3, 300)
    probes = Probes(8, decoding(shown))
    engine = Pretended(shown)
    for number, picture in enumerate(shown.pixels):
        ask = ask_of(number, "short")
        probes.taken(row_of(number), "short", ask, picture)
        probes.said(Generated(ask.key, f"caption {number}"))
        if probes.due(idle=False):
            probes.ask_alone(engine)
    assert not vars(probes)["_held"]
    assert not probes.due(idle=True)


def test_of_a_row_the_greedy_question_with_the_longest_answer_is_probed():
    shown = pictures(3, COUNT)
    probes, engine = Probes(2, decoding(shown)), Listening(shown)
    drawn = Sampling(max_tokens=2048, temperature=0.7)
    for number, picture in enumerate(shown.pixels[:16]):
        asks = [
            ask_of(number, "short", 96),
            ask_of(number, "long", 256),
            Ask(f"0/{number}/drawn/0", PROMPTS["long"], drawn),
            ask_of(number, "tags", 64),
        ]
        for ask in asks:
            probes.taken(row_of(number), ask.key.split("/")[2], ask, picture)
        for ask in asks:
            probes.said(Generated(ask.key, f"{ask.key}: some text"))
    assert probes.due(idle=True)
    probes.ask_alone(engine)
    assert {ask.question for ask in alone_of(engine)} == {PROMPTS["long"]}
    assert {ask.sampling.temperature for ask in alone_of(engine)} == {0}


def test_a_question_with_the_pictures_own_caption_in_it_is_probed_only_where_no_other_is():
    shown = pictures(3, COUNT)
    probes = Probes(2, decoding(shown))
    for number, picture in enumerate(shown.pixels[:12]):
        question = f"Someone wrote {number} of this image. Is it so?"
        refine = Ask(f"0/{number}/refine/0", question, Sampling(max_tokens=512))
        for ask in (refine, ask_of(number, "short", 96)):
            probes.taken(row_of(number), ask.key.split("/")[2], ask, picture)
    variants = {held.probe.variant for held in list(vars(probes)["_held"].values())[1:]}
    assert variants == {"short"}


def test_an_answer_that_is_cut_after_a_few_letters_is_compared_with_nothing():
    class Thinking(Listening):
        def step(self):
            made = super().step()
            return [
                Generated(one.key, "", "length", 64) if one.key.startswith("probe/") else one
                for one in made
            ]

    shown = pictures(3, COUNT)
    engine = Thinking(shown, noise=0.3)
    found = run_probes(engine, shown, "long")
    assert (found.stopped, found.counts["truth_probes"]) == ("", 0)


def test_an_answer_in_json_is_not_cut():
    shown = pictures(3, COUNT)
    probes, engine = Probes(2, decoding(shown)), Listening(shown)
    for number, picture in enumerate(shown.pixels[:16]):
        sampling = Sampling(max_tokens=300)
        ask = Ask(f"0/{number}/facts/0", PROMPTS["short"], sampling, schema='{"type": "object"}')
        probes.taken(row_of(number), "facts", ask, picture)
        probes.said(Generated(ask.key, MODELS["world"](3, number, ask.question)))
    probes.ask_alone(engine)
    facts = [ask for ask in alone_of(engine) if ask.schema]
    assert {ask.sampling.max_tokens for ask in facts} == {300}


def test_failed_answers_are_no_texts():
    shown = pictures(3, COUNT)
    probes = Probes(32, decoding(shown))
    for number, picture in enumerate(shown.pixels):
        ask = ask_of(number, "short")
        probes.taken(row_of(number), "short", ask, picture)
        probes.said(Generated(ask.key, error="refused"))
    assert not probes.due(idle=True)


def test_an_engine_that_fails_on_probes_stops_nothing():
    class Failing(Pretended):
        def step(self):
            made = super().step()
            return [
                Generated(one.key, error="no") if one.key.startswith("probe/") else one
                for one in made
            ]

    shown = pictures(3, COUNT)
    found = run_probes(Failing(shown), shown, "short")
    assert (found.stopped, found.counts["truth_probes"]) == ("", 0)


@pytest.mark.slow
def test_the_chosen_pictures_depend_on_no_order_and_are_no_copies_of_each_other():
    shown = pictures(3, COUNT, copies=10)
    probes = Probes(32, decoding(shown))
    for number, picture in enumerate(shown.pixels):
        ask = ask_of(number, "short")
        probes.taken(row_of(number), "short", ask, picture)
        probes.said(Generated(ask.key, "text"))
    window = vars(probes)["_held"].values()
    some = dissimilar([held.probe for held in window], [], 16)
    assert dissimilar([held.probe for held in reversed(window)], [], 16) == some
    assert len({shown.scenes[int(probe.id, 16)] for probe in some}) == 16


def test_a_thumbnail_is_small_whatever_the_picture():
    for shape in ((1, 300, 3), (3, 3, 3), (500, 900, 3)):
        look = thumbnail(np.full(shape, 7, np.uint8))
        assert look.shape == (8, 8, 3)
        assert (look == 7).all()


def test_the_outcome_is_a_line_for_people():
    assert told({}) == ""
    said = told({"truth_probes": 32, "truth_same": 31, "truth_grey": 8, "truth_swapped": 1})
    assert "32 pictures captioned again, alone: 31 with the same result (97%)" in said
    assert "near ties" in said
    assert "WARNING: 1 captions belong to another picture" in said
    assert "8 shown grey instead: 0 with the same result" in said


def test_the_line_names_no_cause_that_it_does_not_know():
    assert "near ties" not in told({"truth_probes": 32, "truth_same": 32})
    few = told({"truth_probes": 32, "truth_same": 7})
    assert "near ties" not in few
    assert "WARNING" not in few
    assert "caption.engine=transformers" in few
    doubtful = told({"truth_probes": 32, "truth_same": 7, "truth_doubtful": 25})
    assert "near ties" not in doubtful
    assert "WARNING: by chance" in doubtful


def test_the_line_warns_of_answers_for_grey_pictures_unless_the_question_explains_them():
    counts = {"truth_probes": 32, "truth_same": 32, "truth_grey": 8, "truth_like_grey": 7}
    harmless = told(counts)
    assert "WARNING" not in harmless
    assert "they are described differently" in harmless
    assert "WARNING: the model may not have seen 7 pictures" in told(counts | {"truth_blind": 7})
