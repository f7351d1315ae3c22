"""What all stages have in common: a name, settings, and the folders that they write into."""

from abc import ABC
from collections.abc import Iterator, Mapping
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel

SettingsT = TypeVar("SettingsT", bound=BaseModel)


class Stage(ABC, Generic[SettingsT]):
    """A named step of the line.

    Attributes:
        name: The stage's name, as in `nucleus <name>`, and its section in the configuration.
        help: One sentence for `nucleus --help`.
        Settings: Its settings model.
        resources: What its workers get unless the configuration says otherwise (fields of
            `runner.work.Resources`); None for a stage without workers.
        faces: Names of earlier stages that it asks; they are given to the constructor, in order.
        optional: Whether a line of stages leaves it out when a setting is `missing`.
        retried: Whether `nucleus retry` does its failures again.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    resources: ClassVar[Mapping[str, float] | None] = {}
    faces: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False
    retried: ClassVar[bool] = False

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    def missing(self) -> str | None:
        """Which setting it can't work without is not set, and what to give; None if all are."""
        return None

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Folders below the corpus that it writes into, to sweep what killed processes left there.

        Args:
            tables: Config hash of every table that is pinned.
        """
        yield from ()
