"""The worker's own loop, in a thread; `test_workers` starts real processes."""

import json
import mmap
import os
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from multiprocessing.connection import Connection

import numpy as np
import pytest

from nucleus_model.data.reader import Request
from nucleus_model.data.worker import main
from tests.support.loading import Opened
from tests.support.sets import make_set


def test_it_answers_in_order_and_fills_the_slots(tmp_path):
    made = Opened(make_set(tmp_path / "set", {"64/1x1": 6}).url())
    size = 2 * 3 * 64 * 64 * 3
    memory = os.memfd_create("test")
    os.ftruncate(memory, size)
    ours, theirs = (Connection(end.detach()) for end in socket.socketpair())
    threading.Thread(target=main, args=(theirs, memory, bool), daemon=True).start()
    ours.send_bytes(json.dumps({"source": asdict(made.set.source), "joined": False}).encode())
    assert json.loads(ours.recv_bytes()) == {"ready": True}
    places = [([0, 1], [2, 1], [2, 0]), ([0], [3], [1])]
    for number, (tars, rows, slots) in enumerate(places):
        at = number * size // 2
        asked = Request(tars, rows, (64, 64), ["0"] * len(tars), 0, 0.0, None, slots, at)
        assert Request.from_json(asked.to_json()) == asked
        ours.send_bytes(asked.to_json())
    pixels = np.frombuffer(mmap.mmap(memory, size), np.uint8).reshape(2, 3, 64, 64, 3)
    for number, (tars, rows, slots) in enumerate(places):
        told = json.loads(ours.recv_bytes())
        ids = [made.ident(*place) for place in zip(tars, rows, strict=True)]
        assert (told["ids"], told["failures"]) == (ids, {})
        for tar, row, slot in zip(tars, rows, slots, strict=True):
            image = made.set.image(made.set.sample_at(tar, row))
            assert (pixels[number, slot] == image).all()
    # One that can't be read is told, and ends it.
    ours.send_bytes(Request([9], [0], (64, 64), ["0"], 0, 0.0, None, [0]).to_json())
    assert json.loads(ours.recv_bytes())["error"].startswith("IndexError: ")


@pytest.mark.slow
def test_a_worker_is_free_of_torch():
    code = "import sys, nucleus_model.data.worker; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
