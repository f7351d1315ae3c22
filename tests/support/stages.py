"""Stages for tests of the runner; in a module of their own so that workers can import them."""

import os
import signal
import sys
import time
from typing import ClassVar

import pyarrow as pa
from pydantic import BaseModel

from nucleus_data.stage import Result, RowFailure, RowStage, TableSpec


class Nothing(BaseModel):
    """Which images are poisoned and how, how long a row takes, how many are held back."""

    poison: str = ""
    seconds: float = 0.0
    hold: int = 0


class Length(RowStage[Nothing]):
    """Writes the number of bytes; images that begin with the poison kill, hang, bloat or raise."""

    name = "length"
    help = "Write the number of bytes."
    Settings = Nothing

    def tables(self):
        return [TableSpec("length", pa.schema([("bytes", pa.int32())]), version=1)]

    def process(self, rows):
        held = []
        for row in rows:
            if row is not None:
                time.sleep(self.settings.seconds)
                if self.settings.poison and row.image[1] == 3:
                    self.doing("the poisoned part")
                    yield from self.poisoned(row)
                    continue
                held.append(row)
                if len(held) <= self.settings.hold:
                    continue
            while held:
                one = held.pop()
                yield Result(one, {"length": {"bytes": len(one.image)}})
        for one in held:
            yield Result(one, {"length": {"bytes": len(one.image)}})

    def poisoned(self, row):
        kind = self.settings.poison
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "kill_worker":  # also when the shard runs guarded, in a child of the worker
            spec = sys.modules["__main__"].__spec__
            guarded = spec is not None and spec.name == "nucleus_data.runner.guarded"
            os.kill(os.getppid() if guarded else os.getpid(), signal.SIGKILL)
            time.sleep(5)
        elif kind == "hang":
            time.sleep(1000)
        elif kind == "bloat":
            self.block = b"x" * (1 << 30)
            time.sleep(20)
        elif kind == "raise":
            raise ZeroDivisionError("in the stage")
        elif kind == "fail":
            yield RowFailure(row, "bad_luck", "for ever")
        elif kind == "fail_for_now":
            yield RowFailure(row, "network", "perhaps later", retryable=True)
        elif kind == "no_setup":
            yield RowFailure(row, "unreachable")

    def setup(self):
        self.loaded = sys  # as a model is, nothing that can be sent to a worker
        if self.settings.poison == "no_setup":
            raise OSError("the model is not there")


class Modelled(Length):
    """The same with a model."""

    resources: ClassVar = {"actors": 1}
