"""Worker processes that prefetch batches, and the shared memory for their pictures.

Each batch is split over all workers, so that it is ready as early as possible; batches come back in
the order of the requests, whatever the number of workers. A picture that kills its worker, or takes
too long, is identified by giving its batch's pictures to a new worker one by one, so it alone
fails.
"""

import json
import mmap
import os
import socket
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from nucleus_data.errors import CorpusError
from nucleus_model.data.reader import Loaded, Request
from nucleus_model.data.tables import TableSource
from nucleus_model.data.worker import pictures_in

START_S = 120.0  # time-out for a worker's start, including its imports


class _Gone(Exception):
    """A worker ended, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Samples of one request that a worker loads.

    Attributes:
        batch: Number of the request.
        places: Indices of the samples in the request.
        request: The request.
        deaths: Number of workers that died while loading it.
    """

    batch: int
    places: list[int]
    request: Request
    deaths: int = 0


class _Worker:
    """One worker process, and the parts of requests that it has not answered yet."""

    def __init__(self, source: TableSource, joined: bool, memory: int) -> None:
        self.waiting: deque[_Part] = deque()
        self._start = {"source": asdict(source), "joined": joined}
        self._memory = memory
        self._open()

    def _open(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            fds = (theirs.fileno(), self._memory)
            # `multiprocessing` would import the trainer's main script again.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nucleus_model.data.worker", *map(str, fds)], pass_fds=fds
            )
        self._connection = Connection(ours.detach())
        self._connection.send_bytes(json.dumps(self._start).encode())
        self._ready = False

    def send(self, part: _Part) -> None:
        """Sends a part of a request."""
        self.waiting.append(part)
        with suppress(OSError):  # a dead process is noticed in `answer`
            self._connection.send_bytes(part.request.part(part.places).to_json())

    def answer(self, timeout_s: float) -> Loaded:
        """Waits for the answer to the oldest open part.

        Raises:
            CorpusError: The set can't be read.
            _Gone: The process ended, or exceeded the time-out.
        """
        while True:
            try:
                if not self._connection.poll(timeout_s if self._ready else START_S):
                    raise _Gone(f"its decoding took longer than {timeout_s:g} s")
                content = json.loads(self._connection.recv_bytes())
            except (EOFError, OSError):
                raise _Gone(f"its decoding ended the process ({self._end()})") from None
            if "error" in content:
                raise CorpusError(content["error"])
            if self._ready:
                content["failures"] = {int(k): v for k, v in content["failures"].items()}
                return Loaded(**content)
            self._ready = True

    def renew(self) -> None:
        """Starts a new process, and sends it all open parts.

        Raises:
            CorpusError: The previous one did not even start.
        """
        self.close()
        if not self._ready:
            raise CorpusError(
                f"a process of the loader did not start ({self._end()}); its error is above"
            )
        waiting, self.waiting = self.waiting, deque()
        self._open()
        for part in waiting:
            self.send(part)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _end(self) -> str:
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class Workers:
    """Processes that load samples into shared memory.

    Args:
        source: Describes the set's tables; each process gets a share of the cache.
        count: Number of processes.
        batch_bytes: Size of the largest batch's pictures.
        ahead: Maximum number of open requests.
        joined: As in `Reader`.
        timeout_s: Seconds after which a worker that does not answer is killed.

    Attributes:
        renewed: Number of processes that were replaced.
    """

    def __init__(
        self,
        source: TableSource,
        *,
        count: int,
        batch_bytes: int,
        ahead: int,
        joined: bool,
        timeout_s: float,
    ) -> None:
        self.ahead, self._batch_bytes, self._timeout_s = ahead, batch_bytes, timeout_s
        self.renewed = self._sent = self._taken = 0
        # One buffer more than open requests, for the batch that the trainer is using.
        size = max(1, batch_bytes) * (ahead + 1)
        self._file = _shared_file(size)
        self._pixels = np.frombuffer(mmap.mmap(self._file, size), np.uint8)
        share = replace(source, cache_bytes=source.cache_bytes // count)
        self._workers = [_Worker(share, joined, self._file) for _ in range(count)]
        self._requests: deque[Request] = deque()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def under_way(self) -> int:
        """Number of requests that have not been taken yet."""
        return len(self._requests)

    def submit(self, request: Request) -> None:
        """Submits a request; at most `ahead` may be open."""
        at = self._sent % (self.ahead + 1) * self._batch_bytes
        count = len(request.tars)
        request = replace(request, slots=range(count), at=at)
        self._requests.append(request)
        for number, worker in enumerate(self._workers):
            # Each worker always gets the same slots, so that it alone reads a stream's blocks.
            places = list(range(number, count, len(self._workers)))
            if places:
                worker.send(_Part(self._sent, places, request))
        self._sent += 1

    def take(self) -> tuple[Loaded, NDArray[np.uint8]]:
        """Waits for the oldest request.

        Returns:
            The answer, and its pictures (N, H, W, 3), valid until the next call.

        Raises:
            CorpusError: The set can't be read.
        """
        request = self._requests.popleft()
        count = len(request.tars)
        loaded = Loaded([""] * count, [""] * count)
        for worker in self._workers:
            while worker.waiting and worker.waiting[0].batch == self._taken:
                self._answer(worker, loaded)
        self._taken += 1
        return loaded, pictures_in(self._pixels, request)[:count]

    def _answer(self, worker: _Worker, loaded: Loaded) -> None:
        part = worker.waiting[0]
        try:
            answer = worker.answer(self._timeout_s)
        except _Gone as gone:
            worker.waiting.popleft()
            # The picture may not be to blame: it only fails if a worker dies with it alone, for
            # the second time.
            if len(part.places) > 1 or not part.deaths:
                alone = [replace(part, places=[n], deaths=1) for n in part.places]
                worker.waiting.extendleft(alone[::-1])
            else:
                loaded.failures[part.places[0]] = str(gone)
            self.renewed += 1
            worker.renew()
            return
        worker.waiting.popleft()
        for number, place in enumerate(part.places):
            loaded.ids[place], loaded.captions[place] = answer.ids[number], answer.captions[number]
            if number in answer.failures:
                loaded.failures[place] = answer.failures[number]

    def close(self) -> None:
        """Ends all processes."""
        for worker in self._workers:
            worker.close()
        self._workers = []
        os.close(self._file)


def _shared_file(size: int) -> int:
    """Creates an anonymous file, in memory if possible, and returns its descriptor."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("nucleus-loader")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
