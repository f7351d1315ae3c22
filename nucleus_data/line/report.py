"""The last stage of the line, `report`: one HTML page about the corpus (`nucleus_data.pages`)."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.looking import going_without, without_lines
from nucleus_data.errors import RequestError
from nucleus_data.line.asking import RunWorkers
from nucleus_data.runner.run import Run
from nucleus_data.stage import CorpusStage
from nucleus_data.stages.caption.checks.on_tables import on_tables
from nucleus_data.stages.shard.stage import Shard, set_of


class ReportSettings(BaseModel):
    """Settings of the report page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thumbnails: int = Field(
        12, ge=0, le=200, description="Number of example pictures on the page for each reason."
    )


class Report(CorpusStage[ReportSettings]):
    """Writes the page, from this run's stages and, of those it did not run, the newest ones.

    Args:
        settings: How much the page shows.
        shard: The stage whose set is shown.
    """

    name = "report"
    help = "Write one HTML page about the corpus."
    Settings = ReportSettings
    resources = None
    faces = ("shard",)

    def __init__(self, settings: ReportSettings, shard: Shard) -> None:
        super().__init__(settings)
        self.shard = shard

    def pin(self, run: Run) -> Mapping[str, str]:
        """Finds the training set, if this run did not make it; says so where there is none."""
        if run.pins.training_set is not None or run.dry_run:
            return {}
        try:
            return self.shard.pin(run)
        except (RequestError, DamagedError) as error:
            why = error
        try:
            # The set may lack something that the selection does not need, such as captions.
            pins = self.shard.select.found(run)
        except (RequestError, DamagedError):
            run.say(f"report: no selection is shown ({why})")
            return {}
        run.say(f"report: no training set and captions are shown ({why})")
        return pins

    def count(self, run: Run) -> None:
        """Says that it is one page."""
        run.say("report: one page")

    def do(self, run: Run) -> None:
        """Writes the page, and says where it is."""
        from nucleus_data.pages.report import write_report  # not without need: jinja2, Pillow

        for error in run.folder.inherit(run.stage_names):
            run.say(f"report: left out: {error}")
        folder = None
        if run.pins.training_set is not None and set_of(run).published:
            folder = run.pins.training_set

        variants = [
            t.removeprefix("caption.") for t in sorted(run.tables) if t.startswith("caption.")
        ]

        def write(corpus: Corpus) -> tuple[str, list[dict[str, str]]]:
            workers = RunWorkers(run, self, corpus)
            try:
                url = write_report(
                    corpus,
                    run.name,
                    run.tables,
                    training_set=folder,
                    thumbnails=self.settings.thumbnails,
                    conditions=on_tables(variants),
                    workers=workers,
                )
            finally:
                workers.clear()
            return url, [error.content() for error in corpus.left_out]

        url, left_out = going_without(run.corpus, write)
        for line in without_lines(left_out):
            run.say(f"report: {line}")
        run.say(f"report: {url}")
