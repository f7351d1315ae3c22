"""A captioning engine without a model, for tests, benches and kills.

engine = StandIn(say=lambda key, picture, ask: f"{ask.question} {key}")

What it says is a function of the request alone. At `pace_s` it takes its time as a GPU does: each
step takes `pace_s`, whatever is in it, and a request about as many steps as the engine holds
requests, so that a full engine ends one caption every `pace_s` and one that is not full fewer.
"""

import dataclasses
import time
import zlib

import numpy as np

from nucleus_data.engines.captioner import Counts, Generated, Prepared

HELD = 64  # requests, if no settings are given


def plain(key, picture, ask):
    """The question and the request's place: `Describe this. 0/1/short`."""
    return f"{ask.question} {place(key)}"


def place(key):
    """Shard, row and variant of a request's key, without the attempt."""
    return key.rsplit("/", 1)[0]


def answering(answers, else_=plain):
    """What to say from outcomes by place: fields of `Generated`, other than the key.

    Args:
        answers: Place (shard/row/variant) to fields, or to a list of them, one an attempt.
        else_: Says the others.
    """
    asked = {}

    def say(key, picture, ask):
        found = answers.get(place(key))
        if isinstance(found, list):
            number = asked[place(key)] = asked.get(place(key), -1) + 1
            found = found[min(number, len(found) - 1)]
        if found is None:
            return else_(key, picture, ask)
        return Generated(key, **{"text": plain(key, picture, ask), **found})

    return say


class StandIn:
    """An `Engine` (`nucleus_data.engines.captioner`) that says what it is told to.

    Args:
        settings: An `EngineSettings`; only `max_in_flight` is read.
        pace_s: Seconds a caption when full; 0 ends `per_step` requests a step, the newest first.
        per_step: See there.
        say: Key, picture and ask to a text, or to a `Generated`.
        prepare: What a picture costs to prepare, beside its decoding.
        records: Whether to keep what was asked, in `submitted`.
        on_cpu: Whether it takes turns with what prepares pictures.

    Attributes:
        submitted: Key, shape of the picture (None if not seen) and ask of each request.
        rounds: How many requests each prepared picture had.
        steps: How many there were.
        held: Requests in the engine at each step.
    """

    name = "stand-in"
    version = "0"

    def __init__(
        self,
        settings=None,
        *,
        pace_s=0.0,
        per_step=1,
        say=plain,
        prepare=None,
        records=True,
        on_cpu=False,
    ):
        self.pace_s = pace_s
        self.per_step = per_step
        self.say = say
        self.make = prepare
        self.records = records
        self.on_cpu = on_cpu
        self.patience_s = None
        self.holds = settings.max_in_flight if settings else HELD
        self.waiting = []
        self.submitted = []
        self.rounds = []
        self.steps = 0
        self.most = 0
        self.held = []
        self.found = Counts()

    def prepare(self, picture, asks):
        """Says what will be said."""
        if picture is not None:
            assert picture.dtype == np.uint8
            assert picture.ndim == 3
            if self.make:
                self.make(picture)
        shape = None if picture is None else picture.shape
        work = []
        for ask in asks:
            said = self.say(ask.key, picture if ask.sees_picture else None, ask)
            if isinstance(said, str):
                said = Generated(ask.key, said)
            if not said.error:
                said = dataclasses.replace(
                    said,
                    finish_reason=said.finish_reason or "stop",
                    tokens=said.tokens or 5,
                    prompt_tokens=said.prompt_tokens or 7,
                )
            work.append((said, shape if ask.sees_picture else None, ask))
        return Prepared(tuple(ask.key for ask in asks), [], work)

    def submit(self, prepared):
        """Takes a prepared picture."""
        self.found.add(pictures=any(shape is not None for _, shape, _ in prepared.work))
        for said, shape, ask in prepared.work:
            # As long as a full engine takes, by half more or less, as captions have their lengths.
            share = 0.5 + (zlib.crc32(ask.key.encode()) % 1000) / 1000
            self.waiting.append([round(self.holds * share), said])
            if self.records:
                self.submitted.append((ask.key, shape, ask))
        if self.records:
            self.rounds.append(len(prepared.work))
        self.most = max(self.most, len(self.waiting))

    def step(self):
        """Gives back what is due."""
        self.steps += 1
        if self.records:
            self.held.append(len(self.waiting))
        if self.pace_s:
            time.sleep(self.pace_s)
            for one in self.waiting:
                one[0] -= 1
            done = [said for left, said in self.waiting if left <= 0]
            self.waiting = [one for one in self.waiting if one[0] > 0]
        else:
            done = [self.waiting.pop()[1] for _ in range(min(self.per_step, len(self.waiting)))]
        for said in done:
            self.found.add(tokens=said.tokens, prompt_tokens=said.prompt_tokens)
        return done

    def pending(self):
        """Requests submitted and not yet given back."""
        return len(self.waiting)

    def count_tokens(self, text):
        """Words."""
        return len(text.split())

    def counts(self):
        """What was done since this was asked last."""
        return self.found.take()
