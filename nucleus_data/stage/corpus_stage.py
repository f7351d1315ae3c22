"""Stages that do one thing about the whole corpus."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from nucleus_data.stage.base import SettingsT, Stage


class CorpusStage(Stage[SettingsT]):
    """A stage that does one thing about the whole corpus.

    What each method is given is a `nucleus_data.runner.run.Run`, which it reads and never changes.
    """

    @abstractmethod
    def pin(self, run: Any) -> Mapping[str, str]:
        """What identifies the result.

        Returns:
            Config hashes by table, of this stage's and of those that it found on the way; `set` is
            the folder of a training set. They are pinned in the run's plan.

        Raises:
            RequestError: Something that it needs is not there, or a setting is wrong.
        """

    @abstractmethod
    def count(self, run: Any) -> None:
        """Says what there would be to do; does nothing."""

    @abstractmethod
    def do(self, run: Any) -> None:
        """Does the work, and says what became of the rows. The run has the stage's pins."""

    def retry(self, run: Any) -> None:
        """Does again what failed in a way that may pass, if the stage is `retried`."""
        raise NotImplementedError(f"{self.name} has nothing to retry")
