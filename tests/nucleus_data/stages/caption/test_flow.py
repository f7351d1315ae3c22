"""How rows go through an engine: asked again, chained, prepared in threads, each ended once."""

import io
import random
import threading
import time
import weakref
import zlib
from collections import Counter

import pytest
from PIL import Image

from nucleus_data.engines.captioner import Generated
from nucleus_data.errors import RequestError
from nucleus_data.pixels import open_picture
from nucleus_data.stage import Result, Row, RowFailure
from nucleus_data.stages.caption import stage as module
from nucleus_data.stages.caption.rounds import fitting
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.stage import Caption
from tests.support.captions.standin import StandIn, answering, place
from tests.support.captions.unchecked import OFF
from tests.support.curated import picture

REPEATS = {**OFF, "repetition": {"action": "ask_again"}}
SAME = {"text": "so same " * 40, "tokens": 80}
FINE = {"text": "A large red ring. The background is brown."}
CHAIN = {
    "long": {"prompt": "long"},
    "brief": {"from": "long", "text": "Shorten: {made}"},
    "tiny": {"from": "brief", "text": "Shorten more: {made}"},
    "look": {"from": "long", "text": "Check: {made}", "picture": True},
}
PICTURES = [picture(seed) for seed in range(6)]


def row(number, variants, image=None, **columns):
    image = PICTURES[number % len(PICTURES)] if image is None else image
    wanted = frozenset(f"caption.{name}" for name in variants)
    return Row(0, number, f"{number:032x}", f"{number}.png", image, columns, wanted)


def stage(monkeypatch, engine, cpus=1, **settings):
    monkeypatch.setattr(module, "load_engine", lambda settings: engine)
    made = Caption(CaptionSettings(**{"checks": OFF, "probes": 0} | settings))
    made.cpus = cpus
    made.setup()
    return made


def outcomes(monkeypatch, engine, rows, **settings):
    """What became of each row: by its number, the tables' values or failures."""
    found = list(stage(monkeypatch, engine, **settings).process(iter(rows)))
    assert sorted(o.row.row for o in found) == sorted(row.row for row in rows), "each row once"
    return {o.row.row: o.values if isinstance(o, Result) else o.reason for o in found}


def asked(engine):
    """Keys in the order in which they were asked."""
    return [key for key, *_ in engine.submitted]


class TestAttempts:
    def values(self, monkeypatch, answers, **settings):
        self.engine = StandIn(say=answering({"0/1/long": answers}))
        names = {"long": {"prompt": "long"}, "short": {"prompt": "short"}}
        rows = [row(number, names) for number in range(3)]
        found = outcomes(
            monkeypatch, self.engine, rows, **{"variants": names, "checks": REPEATS} | settings
        )
        assert all("caption" in found[n]["caption.short"] for n in range(3))
        assert all("caption" in found[n]["caption.long"] for n in (0, 2))
        return found[1]["caption.long"]

    def test_an_answer_that_fails_a_check_is_asked_again_alone(self, monkeypatch):
        made = self.values(monkeypatch, [SAME, FINE])
        assert (made["caption"], made["attempt"]) == (FINE["text"], 1)
        assert made["faults"] == ["repetition"]
        assert Counter(asked(self.engine)).most_common(1)[0][1] == 1
        assert sum(place(key) == "0/1/long" for key in asked(self.engine)) == 2
        first, second = (ask for key, _, ask in self.engine.submitted if place(key) == "0/1/long")
        assert first.sampling != second.sampling
        assert sorted(self.engine.rounds) == [1, 2, 2, 2]

    def test_the_last_attempt_ends_the_variant(self, monkeypatch):
        made = self.values(monkeypatch, SAME, attempts=2)
        assert (made["error"], made["retryable"]) == ("repetition", True)
        assert "(2 attempts)" in made["detail"]
        assert SAME["text"][:80] in made["detail"], "kept for people, never as a caption"
        assert len(asked(self.engine)) == 7

    def test_what_the_engine_refuses_is_not_asked_again(self, monkeypatch):
        made = self.values(monkeypatch, {"error": "refused: no", "reason": "too_long"})
        assert (made["error"], made["retryable"]) == ("too_long", True)
        assert len(asked(self.engine)) == 6

    @pytest.mark.slow
    def test_a_caption_that_a_stop_text_ended_is_not_cut(self, monkeypatch):
        variants = {"long": {"prompt": "short", "stop": ["."]}}
        for at_stop, expected in ((True, None), (False, "cut")):
            said = {"text": "A large red ring and a blue square", "at_stop": at_stop}
            engine = StandIn(say=answering({"0/0/long": said}))
            settings = {"variants": variants, "checks": {}, "attempts": 1}
            found = outcomes(monkeypatch, engine, [row(0, variants)], **settings)
            assert found[0]["caption.long"].get("error") == expected

    def test_an_empty_answer_is_asked_again_where_that_is_checked(self, monkeypatch):
        answers = [{"text": "  "}, FINE]
        assert self.values(monkeypatch, answers)["error"] == "caption_empty"
        made = self.values(monkeypatch, answers, checks={**OFF, "empty": {"action": "ask_again"}})
        assert made["caption"] == FINE["text"]


class TestChains:
    def test_children_are_asked_about_their_parent_s_caption(self, monkeypatch):
        engine = StandIn(say=lambda key, picture, ask: f"<{ask.question.splitlines()[0][:30]}>")
        found = outcomes(monkeypatch, engine, [row(0, CHAIN)], variants=CHAIN)[0]
        captions = {name.removeprefix("caption."): made["caption"] for name, made in found.items()}
        assert captions["brief"] == f"<Shorten: {captions['long']}"[:31] + ">"
        assert captions["tiny"] == f"<Shorten more: {captions['brief']}"[:31] + ">"
        seen = {place(key)[4:]: shape is not None for key, shape, _ in engine.submitted}
        assert seen == {"long": True, "look": True, "brief": False, "tiny": False}
        assert engine.rounds == [1, 2, 1], "children of one caption are prepared together"

    @pytest.mark.parametrize("again", [True, False])
    def test_children_of_one_that_failed_fail_with_it(self, monkeypatch, again):
        answer = {"error": "refused: no"} if again else {"text": ""}
        engine = StandIn(say=answering({"0/0/long": answer}))
        found = outcomes(monkeypatch, engine, [row(n, CHAIN) for n in (0, 1)], variants=CHAIN)
        reason = "caption_refused" if again else "caption_empty"
        assert found[0]["caption.long"]["error"] == reason
        for name, parent in (("brief", "long"), ("look", "long"), ("tiny", "brief")):
            failure = found[0][f"caption.{name}"]
            assert (failure["error"], failure["retryable"]) == ("parent_failed", again)
            assert failure["detail"].startswith(f"caption.{parent}: ")
        assert all("caption" in made for made in found[1].values())

    def test_a_parent_that_is_there_already_is_asked_about_at_once(self, monkeypatch):
        engine = StandIn(say=lambda key, picture, ask: ask.question)
        columns = {"caption.long:caption": "A red ring."}
        found = outcomes(monkeypatch, engine, [row(0, ["brief"], **columns)], variants=CHAIN)
        assert found[0]["caption.brief"]["caption"] == "Shorten: A red ring."

    def test_a_broken_picture_costs_what_would_see_it(self, monkeypatch):
        columns = {"caption.long:caption": "A red ring."}
        rows = [
            row(0, CHAIN, image=b"no picture"),
            row(1, ["brief", "look"], image=b"no picture", **columns),
            row(2, ["brief", "tiny"], image=b"no picture", **columns),
        ]
        found = outcomes(monkeypatch, StandIn(), rows, variants=CHAIN)
        assert found[0]["caption.long"]["error"] == "not_an_image"
        assert found[0]["caption.tiny"]["error"] == "parent_failed"
        assert found[1]["caption.look"]["error"] == "not_an_image"
        assert "caption" in found[1]["caption.brief"]
        assert all("caption" in made for made in found[2].values())
        alone = outcomes(monkeypatch, StandIn(), [row(0, ["long"], image=b"x")], variants=CHAIN)
        assert alone == {0: "not_an_image"}


class Unreliable(StandIn):
    """Refuses, raises, loses and repeats, each in a share of the requests, by their keys."""

    def fate(self, key):
        return zlib.crc32(key.encode()) % 12

    def prepare(self, picture, asks):
        if self.fate(asks[0].key) == 0:
            raise RuntimeError("on prepare")
        prepared = super().prepare(picture, asks)
        failed = [Generated(key, error="no") for key in prepared.keys if self.fate(key) == 1]
        lost = {made.key for made in failed}
        prepared.work[:] = [one for one in prepared.work if one[0].key not in lost]
        return type(prepared)(
            tuple(key for key in prepared.keys if key not in lost), failed, prepared.work
        )

    def submit(self, prepared):
        if prepared.keys and self.fate(prepared.keys[0]) == 2:
            raise RuntimeError("on submit")
        super().submit(prepared)

    def step(self):
        done = [made for made in super().step() if self.fate(made.key) != 3]
        return done + [made for made in done if self.fate(made.key) == 4]


@pytest.mark.parametrize(("cpus", "on_cpu"), [(1, False), (3, False), (2, True)])
def test_every_row_ends_once_whatever_the_engine_does(monkeypatch, cpus, on_cpu):
    def say(key, picture, ask):
        return Generated(key, **(SAME if zlib.crc32(key.encode()) % 5 == 0 else FINE))

    rows = [
        row(n, CHAIN) if n % 7 else row(n, CHAIN, image=None if n % 2 else b"x") for n in range(60)
    ]
    settings = {"variants": CHAIN, "checks": REPEATS, "max_in_flight": 8, "cpus": cpus}
    engine = Unreliable(say=say, per_step=3, on_cpu=on_cpu)
    found = outcomes(monkeypatch, engine, rows, **settings)
    reasons = Counter(
        made.get("error", "done")
        for values in found.values()
        for made in (values.values() if isinstance(values, dict) else [])
    )
    assert {"done", "engine_raised", "engine_lost", "caption_refused", "parent_failed"} <= set(
        reasons
    )
    assert engine.most <= 8
    for number, values in found.items():
        assert isinstance(values, str) or set(values) == rows[number].wanted


def test_no_value_depends_on_order_company_or_threads(monkeypatch):
    rows = [row(number, CHAIN) for number in range(12)]
    settings = {"variants": CHAIN, "checks": REPEATS}

    def say(key, picture, ask):
        wrong = zlib.crc32(key.encode()) % 3 == 0
        seen = "nothing" if picture is None else str(int(picture.sum()))
        return Generated(key, **SAME) if wrong else f"{ask.question} {seen}"

    first = outcomes(monkeypatch, StandIn(say=say), rows, **settings)
    for seed, cpus, most in ((1, 1, 4), (2, 4, 64), (3, 2, 5)):
        random.Random(seed).shuffle(rows)
        engine = StandIn(say=say, per_step=seed, on_cpu=seed == 3)
        assert outcomes(monkeypatch, engine, rows, cpus=cpus, max_in_flight=most, **settings) == (
            first
        )


@pytest.mark.parametrize("where", ["said", "provenance", "ask", "fault"])
def test_our_own_mistake_with_a_variant_costs_that_variant(monkeypatch, where):
    names = {"long": {"prompt": "long"}, "short": {"prompt": "short"}}
    work = stage(monkeypatch, StandIn(), variants=names, checks=REPEATS)
    real = getattr(module.Asking, where)

    def faulty(*given, **named):
        wrong = given[1].template if where == "fault" else given[2]
        if wrong in ("long", work.settings.variants["long"].template):
            raise ZeroDivisionError("by mistake")
        return real(*given, **named)

    monkeypatch.setattr(module.Asking, where, faulty)
    (outcome,) = work.process(iter([row(0, names)]))
    assert "caption" in outcome.values["caption.short"]
    failure = outcome.values["caption.long"]
    assert (failure["error"], failure["retryable"]) == ("stage_raised", True)
    assert failure["detail"] == "ZeroDivisionError: by mistake"


def test_pictures_are_prepared_by_as_many_threads_as_there_are_cpus(monkeypatch):
    mine, seen, both = threading.get_ident(), set(), threading.Barrier(2, timeout=20)

    def prepare(picture):
        seen.add(threading.get_ident())
        both.wait()

    engine = StandIn(prepare=prepare)
    names = {"long": {"prompt": "long"}}
    rows = [row(number, names) for number in range(8)]
    assert len(outcomes(monkeypatch, engine, rows, cpus=2, variants=names)) == 8
    assert len(seen) == 2
    assert mine not in seen


class Alternating(StandIn):
    """Notes whether a picture was being prepared while it stepped, and what it held then."""

    def __init__(self, **given):
        super().__init__(prepare=self._slowly, **given)
        self.together = 0
        self.stepping = False

    def _slowly(self, picture):
        self.together += self.stepping
        time.sleep(0.002)
        self.together += self.stepping

    def step(self):
        self.stepping = True
        time.sleep(0.004)
        self.stepping = False
        return super().step()


@pytest.mark.parametrize("on_cpu", [True, False])
def test_threads_and_an_engine_on_their_cpus_take_turns(monkeypatch, on_cpu):
    engine, names = Alternating(on_cpu=on_cpu), {"long": {"prompt": "long"}}
    rows = [row(number, names) for number in range(20)]
    settings = {"variants": names, "max_in_flight": 12}
    assert len(outcomes(monkeypatch, engine, rows, **settings)) == 20
    assert (engine.together == 0) == on_cpu
    if on_cpu:
        assert engine.held[0] == 12, "it is full before it works"


def test_few_pictures_are_prepared_before_the_engine_has_room(monkeypatch):
    prepared, names = [], {"long": {"prompt": "long"}}
    settings = {"variants": names, "max_in_flight": 8}
    engine = StandIn(prepare=lambda pixels: prepared.append(weakref.ref(pixels)), pace_s=0.02)
    engine.holds = 10**6  # nothing ends
    work = stage(monkeypatch, engine, **settings).process(
        row(number, names) for number in range(99)
    )
    thread = threading.Thread(target=lambda: next(work, None), daemon=True)
    thread.start()
    time.sleep(0.2)
    assert engine.pending() == 8
    assert len(prepared) <= 8 + 3, "two to come for a thread, and one that has no room"
    assert not any(pixels() is not None for pixels in prepared), "only their patches are kept"
    engine.waiting[0][0] = 0
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((200, 100), {}, (200, 100)),
        ((200, 100), {"max_side": 100}, (100, 50)),
        ((200, 100), {"max_pixels": 5000}, (100, 50)),
        ((200, 100), {"max_pixels": 1024, "max_side": 100}, (45, 22)),
        ((3000, 3), {"max_pixels": 1024, "max_side": 4096}, (1011, 1)),
        ((30, 20), {"max_pixels": 1024}, (30, 20)),
    ],
)
def test_a_picture_fits_the_longest_side_and_the_budget_of_pixels(size, limits, expected):
    made = fitting(CaptionSettings(**limits))(open_picture(picture(1, size)))
    assert made.shape[1::-1] == expected
    assert made.shape[0] * made.shape[1] <= limits.get("max_pixels", 1 << 30)


@pytest.mark.slow
def test_what_inspect_was_told_to_read_is_captioned(monkeypatch):
    """A picture of more pixels than are read by themselves: `inspect.max_pixels` may say so."""
    stream = io.BytesIO()
    Image.new("1", (8000, 7000)).save(stream, "PNG")
    rows = [row(0, ["short"], image=stream.getvalue())]
    variants = {"short": {"prompt": "short"}}
    (values,) = outcomes(
        monkeypatch, StandIn(say=lambda *_: FINE["text"]), rows, variants=variants, max_side=80
    ).values()
    assert values["caption.short"]["caption"] == FINE["text"]


def test_the_engine_s_counts_and_times_go_to_the_run(monkeypatch):
    names = {"long": {"prompt": "long"}, "short": {"prompt": "short"}}
    work = stage(monkeypatch, StandIn(pace_s=0.001), variants=names)
    assert len(list(work.process(row(number, names) for number in range(5)))) == 5
    assert work.counted() == {"pictures": 5, "tokens": 50, "prompt_tokens": 70}
    assert work.counted() == {}
    spent = work.spent()
    assert spent["model"] > 0 <= spent["model_waits"]
    assert work.spent() == {}


def test_a_row_without_an_image_fails_at_once(monkeypatch):
    one = row(0, ["long"])
    one.image = None
    work = stage(monkeypatch, StandIn(), variants={"long": {"prompt": "long"}})
    (outcome,) = work.process(iter([one]))
    assert isinstance(outcome, RowFailure)
    assert outcome.reason == "no_image"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "refused"),
    [({"system": "Be brief."}, True), ({"answer": {"type": "object"}}, True), ({}, False)],
)
def test_what_the_engine_takes_of_no_picture_is_refused_at_the_start(monkeypatch, given, refused):
    class Strict(StandIn):
        def prepare(self, picture, asks):
            failed = [Generated(a.key, error="no") for a in asks if a.system or a.schema]
            return type(super().prepare(picture, []))((), failed, [])

    variants = {"long": {"prompt": "long"}, "odd": {"prompt": "short"} | given}
    if not refused:
        assert stage(monkeypatch, Strict(), variants=variants)
        return
    with pytest.raises(RequestError, match=r"caption\.variants\.odd: no"):
        stage(monkeypatch, Strict(), variants=variants)
