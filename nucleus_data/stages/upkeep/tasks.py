"""Base classes of a takedown's tasks: access to the corpus and plan, and numbering of tars."""

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
    """A task of a takedown; subclasses define `run`.

    Attributes:
        uri: URI of the corpus.
        storage_options: Options for fsspec.
        takedown: Name of the takedown.
    """

    uri: str
    storage_options: Mapping[str, Any]
    takedown: str

    def opened(self) -> tuple[Corpus, TakedownPlan]:
        """Returns the corpus, and the takedown's plan."""
        options = json.dumps(dict(self.storage_options), sort_keys=True)
        return Corpus(self.uri, self.storage_options), _plan(self.uri, options, self.takedown)


@lru_cache(maxsize=1)
def _plan(uri: str, storage_options: str, name: str) -> TakedownPlan:
    """Reads a takedown's plan, once per process, as it no longer changes.

    Args:
        uri: URI of the corpus.
        storage_options: Options for fsspec, as JSON.
        name: Name of the takedown.
    """
    return read_plan(Corpus(uri, json.loads(storage_options)).store, name)


@dataclass(frozen=True)
class TarTask(TakedownTask):
    """A task of a takedown about one tar of several sets.

    Attributes:
        sets: Folder of each set, relative to the corpus, with its number of tars.
    """

    sets: tuple[tuple[str, int], ...]

    def opened_set(self, number: int) -> tuple[SetFolder, TakedownPlan, int]:
        """Returns the set, the plan, and the tar's number in the set.

        Args:
            number: Number of the tar among those of all sets.
        """
        corpus, plan = self.opened()
        path, number = placed(self.sets, number)
        return SetFolder(corpus.store, path), plan, number


def placed(counted: tuple[tuple[str, int], ...], number: int) -> tuple[str, int]:
    """Converts a number among all items to the group of the item, and its number in the group.

    Args:
        counted: Groups, such as sets, with their numbers of items (tars).
        number: Number of the item among those of all groups.

    Raises:
        CorpusError: The number is too large.
    """
    for name, count in counted:
        if number < count:
            return name, number
        number -= count
    raise CorpusError("there is no such item")
