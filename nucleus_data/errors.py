"""Errors that people see: each says where, what was found, what is allowed, what to do."""


class RequestError(Exception):
    """The request was wrong; nothing was started.

    The command line prints the message and exits with 2.
    """


class CorpusError(Exception):
    """The corpus is not what it should be.

    For example a tar that changed, a part of another version, a full disk.
    """


class OlderLayoutError(CorpusError):
    """A training set was written by an older version, and nothing reads it any more."""


class DiskFullError(CorpusError):
    """There is no space left; the run stops, because every further shard would fail too."""


class StoppedError(Exception):
    """What does the work (Ray, a model) can't start, or is gone; what was committed stays.

    The command line prints the message and exits with 1.
    """
