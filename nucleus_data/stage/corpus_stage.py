"""The base class of stages that work on the corpus as a whole, such as `dedup` and `select`."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from nucleus_data.stage.base import SettingsT, Stage


class CorpusStage(Stage[SettingsT]):
    """A stage that works on the corpus as a whole.

    The argument of each method is a `nucleus_data.runner.run.Run`, which the stage reads and never
    changes.
    """

    @abstractmethod
    def pin(self, run: Any) -> Mapping[str, str]:
        """Returns the config hashes that identify the result.

        Returns:
            Table name -> config hash, of this stage's tables and of the tables that it looked up
            for them; `set` is the folder of a training set. They are pinned in the run's plan.

        Raises:
            RequestError: An input is missing, or a setting is wrong.
        """

    @abstractmethod
    def count(self, run: Any) -> None:
        """Reports how much work there is, without doing it (a dry run)."""

    @abstractmethod
    def do(self, run: Any) -> None:
        """Does the work, and reports the counts. The run already has the pins from `pin`."""

    def retry(self, run: Any) -> None:
        """Processes retryable failures again; called only if the stage is `retried`."""
        raise NotImplementedError(f"{self.name} has nothing to retry")
