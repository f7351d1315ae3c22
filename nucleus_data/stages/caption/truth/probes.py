"""Truth tests in every run: does each picture get its own caption, and does the model see it?

Engines share pictures, prefixes and batches among requests. A bug there mixes up pictures, and
gives fluent captions of the wrong ones. So each run captions some of its first pictures once more,
alone, with nothing else in the engine and no cache; and it shows grey pictures in place of some.
`verdict` evaluates the answers. The run stops if captions belong to other pictures, or if the model
is blind; otherwise it reports the share of equal texts.

    probes = Probes(32, decode)
    probes.taken(row, name, ask, picture)    # of each request, before it is submitted
    probes.said(made)                        # of each answer
    if probes.due(idle=not engine.pending()):
        ...                                  # step until nothing is pending
        probes.ask_alone(engine)             # raises StoppedError

A run of few pictures has few probes: one in four, and none below `FEWEST` pictures. They are asked
when the engine is idle, whenever the number of pictures has doubled, and finally when the window is
full. Their answers are never stored in a table.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from nucleus_data.engines.captioner import Ask, Counts, Engine, Generated, Pixels, Sampling
from nucleus_data.errors import StoppedError
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.stage import Row
from nucleus_data.stages.caption.prompts import PROMPTS
from nucleus_data.stages.caption.truth.asking import TOKENS, said_alone, thumbnail
from nucleus_data.stages.caption.truth.choosing import dissimilar, neighbours, suspects
from nucleus_data.stages.caption.truth.verdict import Probe, Verdict, judge, looks_different
from nucleus_data.stages.caption.truth.words import stopped

FEWEST = 8  # minimum number of pictures for any test
PICTURES_A_PROBE = 4  # pictures per probe
WINDOW_A_PROBE = 8  # pictures in the full window, per probe
BYTES_A_PROBE = 2 << 20  # maximum size of the window's image files, per probe
ROUND_S = 60.0  # maximum duration of a round of tests, as all other work waits for it
HOLD_S = 60.0  # maximum time to hold captions back before the first test
GREYS_A_PROBE = 4  # one grey picture for so many probes, at least two
GREY = 128
DESCRIBED = 8  # maximum number of pictures that are described, and of grey ones


@dataclass(eq=False)
class _Held:
    """A request in the window, with its image file, so that it can be asked again."""

    probe: Probe
    ask: Ask
    image: bytes
    shape: tuple[int, ...]


class Probes:
    """The truth tests of one engine.

    Args:
        most: Approximate number of pictures to caption again; 0 for no tests.
        decode: Decodes a file to the picture at the size that the model sees.
    """

    def __init__(
        self,
        most: int = 0,
        decode: Callable[[bytes], Pixels] = lambda data: open_picture(data).rgb(),
    ) -> None:
        self._most = most
        self._decode = decode
        self._held: dict[tuple[int, int], _Held] = {}
        self._by_key: dict[str, _Held] = {}
        self._chosen: list[Probe] = []
        self._greys: list[Probe] = []
        self._bytes = 0
        self._judged_at = 0
        self._open = most > 0
        self._began: float | None = None
        self._questions: dict[str, str] = {}
        self._number = 0
        self._found = Counts()
        self._counted: dict[str, int] = {}

    def taken(self, row: Row, name: str, ask: Ask, picture: Pixels | None) -> None:
        """Notes a request, before it is submitted.

        One request per row is kept, preferring greedy ones, those with the same question for all
        rows, and those with the longest answers. (Sampled requests have a seed and so are also
        reproducible, except for batching, but less reliably.)

        Args:
            row: The record.
            name: The variant.
            ask: The request.
            picture: The picture at the size that the model sees; None if it does not see it.
        """
        if picture is None or row.image is None or not ask.sees_picture or not self.collects:
            return
        self._began = self._began or time.monotonic()
        place = (row.shard, row.row)
        before = self._held.get(place)
        if before is not None:
            known = before.probe.variant
            worse = self._rank(known, before.ask) >= self._rank(name, ask)
            if before.probe.crowd is not None or worse:
                return
            del self._by_key[before.ask.key]
            self._bytes -= len(before.image)
        probe = Probe(ask.key, name, row.id, self._number, thumbnail(picture))
        held = _Held(probe, ask, row.image, picture.shape)
        self._held[place] = self._by_key[ask.key] = held
        self._bytes += len(row.image)
        self._number += 1

    def said(self, made: Generated) -> None:
        """Notes an answer of the run; ignores failed ones, and those to other requests."""
        held = self._by_key.get(made.key)
        if held is not None and not made.error and held.probe.crowd is None:
            held.probe.crowd = made.text

    def due(self, *, idle: bool) -> bool:
        """Whether it is time for a round of tests.

        Args:
            idle: Whether the engine has nothing to do.

        Returns:
            Whether `ask_alone` should be called as soon as the engine has nothing pending.
        """
        if not self._open:
            return False
        if self._full:
            return True
        return idle and len(self._ready) >= max(FEWEST, 2 * self._judged_at)

    @property
    def hold_back(self) -> bool:
        """Whether to hold back captions, so that bad ones are not stored before the first test."""
        began = self._began
        return (
            self._open
            and not self._judged_at
            and began is not None
            and time.monotonic() - began < HOLD_S
        )

    def ask_alone(self, engine: Engine, model: str = "") -> None:
        """Runs a round of tests, one request at a time.

        Args:
            engine: The engine, with nothing pending; it is left like that.
            model: The model's name, if there are several.

        Raises:
            StoppedError: Captions are of other pictures, or the model does not see them.
        """
        until = time.monotonic() + ROUND_S
        ready = self._ready
        count = min(self._most, len(ready) // PICTURES_A_PROBE) - len(self._chosen)
        chosen = dissimilar(ready, self._chosen, max(count, 0))
        self._chosen += chosen
        self._ask_each(engine, chosen, until)
        self._ask_each(engine, suspects(ready, self._most // 2), until)
        self._ask_each(engine, neighbours(ready, judge(ready), self._most // 2), until)
        self._ask_grey(engine, until)
        verdict = judge(ready)
        if verdict.maybe_blind:
            self._describe(engine, verdict.greys[:DESCRIBED])
        self._judged_at = len(ready)
        self._count(verdict)
        if self._full:
            self._close()
        if verdict.mixed_up or verdict.blind:
            named = f"{engine.name} {engine.version}" + (f" with {model}" if model else "")
            raise StoppedError(stopped(named, verdict))

    def counts(self) -> Mapping[str, int]:
        """Returns the counts of tests since the last call, for the run's counts."""
        return self._found.take()

    def _rank(self, name: str, ask: Ask) -> tuple[bool, bool, int]:
        """Ranks a request's suitability for tests, higher is better.

        Questions that differ by picture are unsuitable: their answers can't be those of another
        one.
        """
        same = self._questions.setdefault(name, ask.question) == ask.question
        return ask.sampling.temperature == 0, same, ask.sampling.max_tokens

    @property
    def _ready(self) -> list[Probe]:
        return [held.probe for held in self._held.values() if held.probe.crowd is not None]

    @property
    def collects(self) -> bool:
        """Whether more pictures are needed for the window."""
        return self._open and not self._full

    @property
    def _full(self) -> bool:
        return (
            len(self._held) >= WINDOW_A_PROBE * self._most
            or self._bytes >= BYTES_A_PROBE * self._most
        )

    def _close(self) -> None:
        self._open = False
        self._held, self._by_key = {}, {}

    def _ask_each(self, engine: Engine, probes: Iterable[Probe], until: float) -> None:
        for probe in probes:
            if probe.alone is None and time.monotonic() < until:
                held = self._by_key[probe.key]
                picture = self._picture(held)
                if picture is not None:
                    probe.alone = said_alone(engine, held.ask, picture, "alone")

    def _ask_grey(self, engine: Engine, until: float) -> None:
        """Shows grey pictures in place of a quarter of the probes, unless these look grey."""
        count = max(2, len(self._chosen) // GREYS_A_PROBE) - len(self._greys)
        for probe in [p for p in self._chosen if p.alone and p not in self._greys][: max(count, 0)]:
            held = self._by_key[probe.key]
            grey = np.full(held.shape, GREY, np.uint8)
            as_grey = replace(probe, look=thumbnail(grey))
            if looks_different(probe, as_grey) and time.monotonic() < until:
                probe.grey = said_alone(engine, held.ask, grey, "grey")
                self._greys.append(probe)

    def _describe(self, engine: Engine, probes: Iterable[Probe]) -> None:
        """Asks for descriptions of pictures, twice, and of grey ones.

        A question such as "Is there a watermark?" may rightly have the same answer for both.
        """
        for probe in probes:
            held = self._by_key[probe.key]
            picture = self._picture(held)
            if picture is None or probe.faded is not None:
                continue
            own = replace(
                held.ask, question=PROMPTS["medium"], schema=None, sampling=Sampling(TOKENS)
            )
            grey, *answers = [
                said_alone(engine, own, pixels, f"described{number}")
                for number, pixels in enumerate((np.full_like(picture, GREY), picture, picture))
            ]
            if grey is not None and None not in answers:
                probe.faded = answers.count(grey)

    def _picture(self, held: _Held) -> Pixels | None:
        try:
            return self._decode(held.image)
        except PixelError:  # unexpected, as it was decoded before
            return None

    def _count(self, verdict: Verdict) -> None:
        """Adds the increase of the counts, which are of the whole window, to those of the run."""
        probes_asked = [probe for probe in self._chosen if probe.alone is not None]
        now = {
            "truth_probes": len(probes_asked),
            "truth_same": sum(probe.same for probe in probes_asked),
            "truth_swapped": len(verdict.swapped) + len(verdict.shared),
            "truth_doubtful": len(verdict.doubtful),
            "truth_grey": sum(probe.grey is not None for probe in self._greys),
            "truth_like_grey": len(verdict.like_grey),
            "truth_blind": len(verdict.unexplained),
        }
        last, self._counted = self._counted, now
        self._found.add(**{name: count - last.get(name, 0) for name, count in now.items()})
