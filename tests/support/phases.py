"""Work in phases without Ray: run in this process, killed, or measured."""

import tracemalloc

import pyarrow as pa

from nucleus_data.runner.inline import InlineLoop
from nucleus_data.world.throttled import counted


def inline(name, task, items, total):
    """Runs the tasks of a phase in this process."""
    return InlineLoop(name, task, None).run(items, total)


class Killed(Exception):
    """The command died."""


def killed_after(tasks, worked):
    """What runs tasks until so many are done, and notes them."""

    def run_tasks(name, task, items, total):
        def some():
            for item in items:
                if len(worked) == tasks:
                    raise Killed
                worked.append((name, item.number))
                yield item

        return InlineLoop(name, task, None).run(some(), total)

    return run_tasks


class Driver:
    """What a driver of phases holds and asks for, while no task is at work."""

    def __init__(self):
        self.held = self.requests = 0
        self.phases = 0

    def measure(self, work):
        """Does work that is given what runs tasks; returns what it does."""
        tracemalloc.start()
        try:
            with counted() as self._made:
                self._resume()
                found = work(self._run_tasks)
                self._pause()
        finally:
            tracemalloc.stop()
        return found

    def _resume(self):
        self._asked = self._made.count()
        tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]
        # What Arrow holds from before the first phase on counts from phase to phase.
        if not self.phases:
            self._arrow = pa.total_allocated_bytes()

    def _pause(self):
        peak = tracemalloc.get_traced_memory()[1] - self._before
        self.held = max(self.held, peak + pa.total_allocated_bytes() - self._arrow)
        self.requests += self._made.count() - self._asked

    def _run_tasks(self, name, task, items, total):
        self._pause()
        self.phases += 1
        report = inline(name, task, items, total)
        self._resume()
        return report
