"""Stages for tests of the runner; in a module of their own so that workers can import them."""

import os
import signal
import sys
import time
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from nucleus_data.errors import StoppedError
from nucleus_data.stage import ColumnStage, Result, RowFailure, RowStage, TableSpec


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
        elif kind == "stop":
            raise StoppedError("all servers are down")
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


class LoadsOnce(Modelled):
    """The same with a model that a process can load only once."""

    def setup(self):
        super().setup()
        if hasattr(sys, "loaded_once"):
            raise AttributeError("the model is there already")
        sys.loaded_once = True


class ShoutSettings(BaseModel):
    """Which text is poisoned, and whether all rows are done alone."""

    poison: str = ""
    alone: bool = False


class Shout(ColumnStage[ShoutSettings]):
    """Of a caption its length and whether it shouts; rows without a vector have an error."""

    name = "shout"
    help = "Measure captions."
    Settings = ShoutSettings
    columns = ("records:source.caption", "before:value", "before:error")

    def __init__(self, settings):
        super().__init__(settings)
        self.asked = []

    def tables(self):
        return [
            TableSpec("shout.length", pa.schema([("letters", pa.int32())]), version=1),
            TableSpec(
                "shout.loud",
                pa.schema([("loud", pa.bool_()), ("value", pa.float32())]),
                version=1,
                inputs=("before",),
                needs=("before",),
            ),
        ]

    def compute(self, columns, wanted):
        texts = columns.column(0).cast(pa.string())
        self.asked.append((columns.num_rows, sorted(wanted)))
        if self.settings.alone and columns.num_rows > 1:
            raise MemoryError
        if self.settings.poison in texts.to_pylist():
            raise ValueError(self.settings.poison)
        made = {}
        if "shout.length" in wanted:
            made["shout.length"] = pa.table({"letters": pc.utf8_length(texts)})
        if "shout.loud" in wanted:
            values = columns.column("before:value").cast(pa.float32())
            reasons = columns.column("before:error").cast(pa.string())
            made["shout.loud"] = pa.table(
                {"value": values, "loud": pc.utf8_is_upper(texts), "error": reasons}
            )
        return made
