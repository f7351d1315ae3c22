"""The base class of all stages: a name, settings, and the folders that the stage writes into."""

from abc import ABC
from collections.abc import Iterator, Mapping
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel

SettingsT = TypeVar("SettingsT", bound=BaseModel)


class Stage(ABC, Generic[SettingsT]):
    """A named step of the pipeline.

    Attributes:
        name: The stage's name: its command `nucleus <name>`, and its section in the configuration.
        help: One sentence for `nucleus --help`.
        Settings: Its settings model.
        resources: Default resources of its workers (fields of `runner.work.Resources`), which the
            configuration can override; None for a stage without workers.
        faces: Names of earlier stages that it queries. They are passed to the constructor after
            the settings, in this order.
        optional: Whether a run of several stages skips it when a setting is `missing`.
        retried: Whether `nucleus retry` processes its failed rows again.
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
        """Returns which required setting is not set and how to set it; None if all are set."""
        return None

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Yields the folders below the corpus that it writes into.

        The runner sweeps them for temporary files of killed processes.

        Args:
            tables: Table name -> config hash, for every table that is pinned.
        """
        yield from ()
