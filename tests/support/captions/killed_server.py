"""A server without a model in a process of its own, for kills.

    python -m tests.support.captions.killed_server PORT FILE

It says of a picture what `killed.said` says, at a pace. Each request is a line in the file, but for
those of truth tests, which come one by one and are answered at once.
"""

import base64
import contextlib
import io
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.captions.killed import PACE_S, said
from tests.support.captions.server import FakeServer
from tests.support.commands import environment

VERSION = "0.32.0"  # as vLLM's; truth tests send it salts for its caches
HELD = 8  # requests at a time, for which it takes `PACE_S` a request


class ServerProcess:
    """The process, on a port that stays the same; `asked` is the file with its requests."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.log, self.asked = folder / "server.txt", folder / "asked.txt"
        self.process = None

    def start(self):
        words = ("-m", "tests.support.captions.killed_server", str(self.port), str(self.asked))
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words],
                stdout=log,
                stderr=log,
                env=environment(),
                cwd=self.log.parent,
            )

    def wait(self, within_s=60):
        """Waits until it answers."""
        end = time.monotonic() + within_s
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/models"):
                return self
            time.sleep(0.05)
        raise AssertionError(f"the server: {self.log.read_text()}")

    def kill(self):
        """Kill -9 of a server that runs."""
        assert self.process.poll() is None, self.log.read_text()
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL


def main(port, asked):
    """Serves until it is killed."""

    def say(request):
        picture, question = request.body["messages"][-1]["content"]
        data = base64.b64decode(picture["image_url"]["url"].split(",", 1)[1])
        text = said(np.asarray(Image.open(io.BytesIO(data))), question["text"])
        if "cache_salt" in request.body:
            return text
        with asked.open("a") as stream:
            stream.write(f"{text}\n")
        time.sleep(HELD * PACE_S * random.uniform(0.5, 1.5))
        return text

    server = FakeServer(say, version=VERSION)
    server.port = port
    server.start()
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
