"""One run of the truth tests over an engine, as the caption stage drives them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nucleus_data.engines.captioner import Engine, Pixels
from nucleus_data.errors import StoppedError
from nucleus_data.stage import Row
from nucleus_data.stages.caption.truth.probes import Probes
from nucleus_data.stages.caption.truth.words import told
from scripts.truth.engines import IN_FLIGHT, Pictures, ask_of


@dataclass(frozen=True)
class Outcome:
    """How a run of the tests ended.

    Attributes:
        stopped: What the run was stopped with; empty if it went on.
        counts: The run's counts.
    """

    stopped: str
    counts: dict[str, int]

    @property
    def warned(self) -> bool:
        """Whether the run's line warns of something."""
        return "WARNING" in told(self.counts)


def run_probes(
    engine: Engine, pictures: Pictures, variant: str, *, most: int = 32, idle_at: int | None = None
) -> Outcome:
    """Captions pictures with the truth tests.

    Args:
        engine: Any.
        pictures: In their order.
        variant: The question, of `PROMPTS`.
        most: `caption.probes`.
        idle_at: Pictures after each so many of which the engine has nothing to do; None for the end
            alone.
    """
    probes = Probes(most, decoding(pictures))
    try:
        for number, picture in enumerate(pictures.pixels):
            ask = ask_of(number, variant)
            probes.taken(row_of(number), variant, ask, picture)
            engine.submit(engine.prepare(picture, [ask]))
            idle = idle_at is not None and (number + 1) % idle_at == 0
            last = number + 1 == len(pictures.pixels)
            least = 0 if idle or last or probes.due(idle=False) else IN_FLIGHT - 1
            while engine.pending() > least:
                for made in engine.step():
                    probes.said(made)
            if not engine.pending() and probes.due(idle=True):
                probes.ask_alone(engine)
    except StoppedError as error:
        stopped = str(error)
    else:
        stopped = ""
    return Outcome(stopped, dict(probes.counts()))


def row_of(number: int) -> Row:
    """A record whose file is its picture's number."""
    image = number.to_bytes(4, "big")
    return Row(0, number, f"{number:032x}", f"{number}.png", image, {}, frozenset())


def decoding(pictures: Pictures) -> Callable[[bytes], Pixels]:
    """What decodes the files of `row_of`."""
    return lambda image: np.asarray(pictures.pixels[int.from_bytes(image, "big")])
