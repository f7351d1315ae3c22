"""The way of questions to one model: prepared by threads, ready, with the engine.

A stage with several models has a lane for each, so that one that is full keeps no other from its
work. Few pictures are prepared or ready at a time: as an engine reads it, a large one takes 25 MB.
"""

import queue
import time
from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from nucleus_data.engines.captioner import Counts, Engine, Generated
from nucleus_data.stages.caption.asking import Asking
from nucleus_data.stages.caption.failures import LOST
from nucleus_data.stages.caption.rounds import Asked, Round, fitting, prepare
from nucleus_data.stages.caption.truth.probes import Probes

# How long an engine is waited for whose work is done elsewhere: alone, or while others may soon
# have work.
STEP_S, SHORT_S = 0.02, 0.002


class Lane:
    """One model, and the questions on their way to it.

    Args:
        engine: With nothing pending.
        asking: What is asked, and what is kept of the answers, with this model as the stage's own.
        threads: How many prepare pictures.
        variants: Names of those that the model is asked for.
        probes: Asks about some pictures once more when the engine has nothing pending; None for no
            truth tests.

    Attributes:
        asked: Questions that are with the engine, by key.
        takes_turns: Whether the engine waits for the threads. One on these CPUs and they only slow
            each other: they contend for the interpreter's lock at every operation on tensors, a
            tenth of a small model's time.
    """

    def __init__(
        self,
        engine: Engine,
        asking: Asking,
        threads: int,
        variants: Sequence[str],
        probes: Probes | None = None,
    ) -> None:
        settings = asking.settings
        self.engine = engine
        self.asking = asking
        self.variants = variants
        self.probes = probes or Probes()
        self.asked: dict[str, Asked] = {}
        self.takes_turns = engine.on_cpu
        self._busy = Counts()  # read by another thread
        self._elsewhere = hasattr(engine, "patience_s")
        self._fit = fitting(settings)
        self._most = settings.max_in_flight
        # A quarter of what the engine holds: that much may end in one step.
        self._ahead = max(2 * threads, -(-self._most // (4 * len(variants))))
        self._waiting: deque[Round] = deque()  # not in a thread's hands yet
        self._preparing = 0
        self._ready: queue.SimpleQueue[Round] = queue.SimpleQueue()
        self._next: deque[Round] = deque()  # ready, and taken from there

    @property
    def crowded(self) -> bool:
        """Whether there is as much in front of the engine as it needs."""
        return len(self._waiting) + self._preparing >= self._ahead

    @property
    def preparing(self) -> bool:
        """Whether threads have something that is not with the engine yet."""
        return self._preparing > 0

    def put(self, round_: Round, pool: ThreadPoolExecutor) -> None:
        """Puts questions in line."""
        self._waiting.append(round_)
        self.hand_out(pool)

    def hand_out(self, pool: ThreadPoolExecutor) -> None:
        """Gives the threads what they have room for, several pictures at a time if in turns."""
        if self.takes_turns and self._preparing > self._ahead // 2:
            return
        while self._waiting and self._preparing < self._ahead:
            self._preparing += 1
            pool.submit(self._prepare, self._waiting.popleft())

    def _prepare(self, round_: Round) -> None:
        """Prepares a round, in a thread of the pool."""
        try:
            prepare(round_, self.engine, self._fit)
            if not self.probes.collects:  # nobody looks at it any more
                round_.picture = None
        except Exception as error:
            round_.error = error
        finally:
            self._ready.put(round_)

    def has_next(self, wait_s: float = 0.0) -> bool:
        """Whether a round is ready; in turns, once no thread prepares any more."""
        if self.takes_turns:
            while self._preparing > len(self._next):
                self._next.append(self._ready.get())
        if not self._next:
            try:
                self._next.append(self._ready.get(wait_s > 0, wait_s or None))
            except queue.Empty:
                return False
        return True

    def take(self) -> Round | None:
        """The round that is ready; None if the engine has no room for it."""
        round_ = self._next[0]
        size = len(round_.prepared.keys) if round_.prepared else 0
        if self.engine.pending() and self.engine.pending() + size > self._most:
            return None
        self._next.popleft()
        self._preparing -= 1
        return round_

    def step(self, others: Collection["Lane"]) -> list[Generated]:
        """Has the engine work for a moment.

        Args:
            others: All others, which wait meanwhile.
        """
        if self._elsewhere:
            idle = not any(lane.engine.pending() or lane.preparing for lane in others)
            here = any(lane.engine.pending() and not lane._elsewhere for lane in others)
            patience = STEP_S if idle else 0.0 if here else SHORT_S
            self.engine.patience_s = patience  # type: ignore[attr-defined]
        start = time.perf_counter()
        made = self.engine.step()
        self._busy.add(us=round(1e6 * (time.perf_counter() - start)))
        return made

    def take_busy_ms(self) -> int:
        """How long the engine worked since it was asked last, in milliseconds."""
        found = self._busy.take().get("us", 0)
        self._busy.add(us=found % 1000)
        return found // 1000

    def lost(self) -> list[Generated]:
        """Questions that the engine has none of any more; their rows would wait for ever."""
        return [Generated(key, error="it gave nothing back", reason=LOST) for key in self.asked]
