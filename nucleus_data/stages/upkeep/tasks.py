"""What the tasks of a takedown share: corpus, plan, and how tars of several sets are counted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.errors import CorpusError
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.upkeep.plan import TakedownPlan, read_plan


@dataclass(frozen=True)
class TakedownTask:
    """A task of a takedown; what it does is in `run`.

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        takedown: The takedown's name.
    """

    uri: str
    storage_options: Mapping[str, Any]
    takedown: str

    def opened(self) -> tuple[Corpus, TakedownPlan]:
        """The corpus, and the takedown as it is written down."""
        options = json.dumps(dict(self.storage_options), sort_keys=True)
        return Corpus(self.uri, self.storage_options), _plan(self.uri, options, self.takedown)


@lru_cache(maxsize=1)
def _plan(uri: str, storage_options: str, name: str) -> TakedownPlan:
    """A takedown that is under way, read once in a process: it does not change any more.

    Args:
        uri: The corpus.
        storage_options: For fsspec, as JSON.
        name: The takedown's name.
    """
    return read_plan(Corpus(uri, json.loads(storage_options)).store, name)


@dataclass(frozen=True)
class TarTask(TakedownTask):
    """A task of a takedown about one tar of several sets.

    Attributes:
        sets: The sets' folders below the corpus, each with how many tars it has.
    """

    sets: tuple[tuple[str, int], ...]

    def opened_set(self, number: int) -> tuple[SetFolder, TakedownPlan, int]:
        """The set, the takedown, and the tar's number there; `number` counts the tars of all."""
        corpus, plan = self.opened()
        path, number = placed(self.sets, number)
        return SetFolder(corpus.store, path), plan, number


def placed(counted: tuple[tuple[str, int], ...], number: int) -> tuple[str, int]:
    """Which of several things a number among the items of all is of, and its number there.

    Args:
        counted: The things, such as sets, each with how many items (tars) it has.
        number: The item.
    """
    for name, count in counted:
        if number < count:
            return name, number
        number -= count
    raise CorpusError("there is no such item")
