"""A signal group that takes its time, so that a kill finds an inspection under way."""

import time

import pyarrow as pa

from nucleus_data.signals import SignalGroup


def measure(picture, filename):
    """The picture's width, after a while."""
    time.sleep(0.02)
    return {"slow_width": picture.header.width}


group = SignalGroup("slow", 1, pa.schema([("slow_width", pa.int32())]), measure)
