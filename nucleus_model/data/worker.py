"""A worker process that reads and decodes samples for a trainer; started by `workers`.

It receives its set, and then requests, as JSON through a socket. Pictures are written to memory
shared with the trainer; the rest is sent back as JSON, in the order of the requests. It ends when
the trainer does. It does not import torch.
"""

import json
import mmap
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from nucleus_model.data.reader import Reader, Request
from nucleus_model.data.tables import Tables, TableSource


def main(connection: Connection, memory: int, gone: Callable[[], object]) -> None:
    """Serves requests until the connection ends.

    Args:
        connection: Connection to the trainer.
        memory: File descriptor of the shared memory.
        gone: Called when the trainer is gone; may exit at once, as nothing is being written.
    """
    start = json.loads(connection.recv_bytes())
    shared = np.frombuffer(mmap.mmap(memory, 0), np.uint8)
    try:
        reader = Reader(Tables(TableSource(**start["source"])), joined=start["joined"])
        connection.send_bytes(b'{"ready": true}')
        requests: queue.Queue[Request] = queue.Queue()
        threading.Thread(target=_receive, args=(connection, requests, gone), daemon=True).start()
        # With a remote store, the next requests are read while one is being decoded.
        waiting = queue.Queue[tuple[Request, list]](maxsize=2)
        threading.Thread(target=_begin, args=(reader, requests, waiting), daemon=True).start()
        while True:
            request, begun = waiting.get()
            loaded = reader.load(request, pictures_in(shared, request), begun)
            connection.send_bytes(json.dumps(vars(loaded)).encode())
    except Exception as error:
        # An error of the set or its store, not of a single picture: the trainer raises it.
        connection.send_bytes(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())


def pictures_in(shared: NDArray[np.uint8], request: Request) -> NDArray[np.uint8]:
    """Returns the pictures (N, H, W, 3) of a request's batch, a view of the shared memory."""
    width, height = request.size
    count = max(request.slots, default=-1) + 1
    return shared[request.at : request.at + count * height * width * 3].reshape(
        count, height, width, 3
    )


def _receive(
    connection: Connection, requests: queue.Queue[Request], gone: Callable[[], object]
) -> None:
    try:
        while True:
            requests.put(Request.from_json(connection.recv_bytes()))
    except (EOFError, OSError):
        gone()


def _begin(reader: Reader, requests: queue.Queue[Request], waiting: queue.Queue) -> None:
    while True:
        request = requests.get()
        waiting.put((request, reader.begin(request)))


def yield_to_trainer() -> None:
    """Has this process not take a core from the trainer when a request wakes it, on Linux.

    Where all cores are busy, each request that the trainer sends costs it a turn of the scheduler
    otherwise: 4 ms a batch, with two workers on two cores (`scripts/bench_sets_reading.py`).
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


if __name__ == "__main__":
    # Ctrl-C reaches all processes of a terminal; leave it to the trainer to end its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield_to_trainer()
    main(Connection(int(sys.argv[1])), int(sys.argv[2]), lambda: os._exit(0))
