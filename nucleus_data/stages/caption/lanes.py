"""A lane: the queues of one model, from waiting over preparing and ready to submitted.

A stage with several models has a lane for each, so that a full engine does not block the others.
Only few pictures are prepared ahead, since a large preprocessed one takes 25 MB.
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

# How long to wait in a step for an engine that works elsewhere (a server): if no other engine has
# work, or if another one may have some soon.
STEP_S, SHORT_S = 0.02, 0.002


class Lane:
    """One model, and the questions on their way to it.

    Args:
        engine: The model's engine, with nothing pending.
        asking: Builds questions and table rows; its settings have this model as `caption.model`.
        threads: Number of threads that prepare pictures.
        variants: Names of the variants that this model answers.
        probes: The model's truth tests; None for none.

    Attributes:
        asked: Questions submitted to the engine, by key.
        takes_turns: Whether engine and threads alternate. An engine that runs on the same CPUs
            would contend with the threads for the interpreter's lock at every tensor operation,
            which costs a tenth of a small model's time.
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
        self._elsewhere = engine.patience_s is not None
        self._fit = fitting(settings)
        self._most = settings.max_in_flight
        # A quarter of the engine's capacity, as that many requests may finish in one step.
        self._ahead = max(2 * threads, -(-self._most // (4 * len(variants))))
        self._waiting: deque[Round] = deque()  # not yet given to a thread
        self._preparing = 0  # given to a thread, and not yet submitted
        self._ready: queue.SimpleQueue[Round] = queue.SimpleQueue()  # filled by the threads
        self._next: deque[Round] = deque()  # taken from `_ready`, next to be submitted

    @property
    def crowded(self) -> bool:
        """Whether enough is queued for the engine, so that no more rows should be taken."""
        return len(self._waiting) + self._preparing >= self._ahead

    @property
    def preparing(self) -> bool:
        """Whether anything was given to the threads that is not submitted yet."""
        return self._preparing > 0

    def put(self, round_: Round, pool: ThreadPoolExecutor) -> None:
        """Queues a round of questions."""
        self._waiting.append(round_)
        self.hand_out(pool)

    def hand_out(self, pool: ThreadPoolExecutor) -> None:
        """Gives waiting rounds to the threads; if they take turns, several rounds at a time."""
        if self.takes_turns and self._preparing > self._ahead // 2:
            return
        while self._waiting and self._preparing < self._ahead:
            self._preparing += 1
            pool.submit(self._prepare, self._waiting.popleft())

    def _prepare(self, round_: Round) -> None:
        """Prepares a round; runs in a thread of the pool."""
        try:
            prepare(round_, self.engine, self._fit)
            if not self.probes.collects:  # truth tests no longer need the pixels
                round_.picture = None
        except Exception as error:
            round_.error = error
        finally:
            self._ready.put(round_)

    def has_next(self, wait_s: float = 0.0) -> bool:
        """Whether a round is ready; if they take turns, waits until no thread is preparing."""
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
        """Removes and returns the next round; None if the engine has no room for it."""
        round_ = self._next[0]
        size = len(round_.prepared.keys) if round_.prepared else 0
        if self.engine.pending() and self.engine.pending() + size > self._most:
            return None
        self._next.popleft()
        self._preparing -= 1
        return round_

    def step(self, others: Collection["Lane"]) -> list[Generated]:
        """Runs one step of the engine, and returns the answers that it finished.

        Args:
            others: All other lanes, which wait meanwhile.
        """
        if self._elsewhere:
            idle = not any(lane.engine.pending() or lane.preparing for lane in others)
            here = any(lane.engine.pending() and not lane._elsewhere for lane in others)
            self.engine.patience_s = STEP_S if idle else 0.0 if here else SHORT_S
        start = time.perf_counter()
        made = self.engine.step()
        self._busy.add(us=round(1e6 * (time.perf_counter() - start)))
        return made

    def take_busy_ms(self) -> int:
        """Returns how long the engine worked since the last call, in milliseconds."""
        busy_us = self._busy.take().get("us", 0)
        self._busy.add(us=busy_us % 1000)
        return busy_us // 1000

    def lost(self) -> list[Generated]:
        """Returns failed answers to questions that an idle engine never answered."""
        return [Generated(key, error="it gave nothing back", reason=LOST) for key in self.asked]
