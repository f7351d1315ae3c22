"""Work in a child process that kills itself, as `kill -9` does, at a chosen write.

    while killed(work, folder, at=at): at += 3      # each child goes on where the last one ended

Children are forked from a server that has imported what they need, so each costs its work alone.
"""

import multiprocessing
import os
import signal

# What makes a write of the store appear, or an object go.
WRITES = ("fsync", "link", "replace", "remove", "unlink")
PRELOADED = [
    "tests.support.killed",
    "tests.support.curated",
    "tests.support.encodes",
    "nucleus_data.stages.encode.models",
    "nucleus_data.stages.upkeep.takedown",
    "nucleus_data.stages.upkeep.verify",
]
LONGEST_S = 120


def killed(work, *arguments, at):
    """Does work in a child.

    Args:
        work: A function of a module.
        arguments: Its arguments.
        at: Before which of its writes the child dies.

    Returns:
        Whether it died, as it had so many writes; else the work is done.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    child = context.Process(target=_main, args=(at, work, arguments))
    child.start()
    child.join(LONGEST_S)
    assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
    return child.exitcode != 0


def _main(at, work, arguments):
    left = [at]

    def dying(write):
        def call(*given, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*given, **options)

        return call

    for name in WRITES:
        setattr(os, name, dying(getattr(os, name)))
    work(*arguments)


def taken(uri, ids):
    """Takes records of a corpus down."""
    from nucleus_data.stages.dedup.settings import DedupSettings
    from nucleus_data.stages.upkeep.request import Request
    from nucleus_data.stages.upkeep.takedown import take_down
    from tests.support import curated

    run = curated.run(str(uri), "takedown")
    assert take_down(run, Request.of(ids), DedupSettings()), run.failures


def verified(uri, kinds):
    """Verifies the only set of a corpus; just these kinds of faults are found."""
    from nucleus_data.stages.upkeep.verify import find_set, verify
    from tests.support import curated

    run = curated.run(str(uri), "verify")
    faults = verify(run, find_set(run, None), {}, None, decode=False)
    assert {fault.kind for fault in faults} == set(kinds), faults


def encoded(folder):
    """Encodes the set that `Encoding` makes in a folder."""
    from tests.support.encodes import Encoding

    Encoding(folder).run()


def written(uri):
    """Writes the training set of the corpus that `captioned_sets` makes."""
    from tests.support import curated
    from tests.support.captioned_sets import SETTINGS

    names = "shard.captions=[source, short]"
    curated.run(str(uri), "shard", *SETTINGS, names, "shard.samples_per_tar=2").do("shard")
