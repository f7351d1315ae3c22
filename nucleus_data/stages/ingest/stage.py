"""The stage `ingest`: takes a source's new rows into the corpus.

Every upstream row becomes a record, with its image or with the reason why it has none. Which rows
an image shard is made of is claimed first (`plan`), by one command at a time; building a shard
(`build`) is a task that any worker can do again.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.told import command
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, Summary
from nucleus_data.stage import CorpusStage
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.claims import FOLDER as CLAIMS
from nucleus_data.stages.ingest.hosts import FOLDER as HOSTS
from nucleus_data.stages.ingest.http.told import heard
from nucleus_data.stages.ingest.plan import IngestPlan, plan_ingest
from nucleus_data.stages.ingest.progress import Planning, extra_counts, on_bar, told
from nucleus_data.stages.ingest.retry import plan_retry
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.ingest.work_folder import kept_folders, remove_empty


@dataclass(frozen=True)
class BuildTask:
    """Builds one image shard from its claim (a task of the runner).

    Attributes:
        uri: The corpus.
        storage_options: For fsspec, of the corpus.
        source_options: For fsspec, of the source.
        workers: How many such tasks run at once.
    """

    uri: str
    storage_options: Mapping[str, Any]
    source_options: Mapping[str, Any]
    workers: int = 1

    def among(self, workers: int) -> "BuildTask":
        """The same task as one of so many at once: hosts have limits for all of them together."""
        return replace(self, workers=workers)

    def run(self, number: int) -> Summary:
        """Writes the tar and its records."""
        corpus = Corpus(self.uri, self.storage_options)
        return _summary(build_shard(corpus, number, self.source_options, self.workers))

    def progress(self, summary: Summary, seconds: float) -> str:
        """The counts so far, beside the progress bar: of shards that are being fetched, too."""
        so_far, began = Summary(), time.time() - seconds
        so_far.add(summary)
        for folder in kept_folders(Corpus(self.uri, self.storage_options)):
            if (counts := heard(folder, began)) is not None:
                so_far.add(_summary(counts))
        return on_bar(so_far, seconds)

    def told(self, summary: Summary, seconds: float) -> list[str]:
        """Lines on what was taken."""
        return told(summary, seconds, self.uri)


def _summary(counts: Mapping[str, Any]) -> Summary:
    """The counts of a shard that is built or being fetched, as the runner adds them up."""
    return Summary(
        rows=counts.get("rows", 0),
        done=counts["images"],
        failed=Counter(counts["reasons"]),
        retryable=counts.get("retryable", 0),
        bytes=counts["bytes"],
        extra=extra_counts(counts),
    )


class Ingest(CorpusStage[IngestSettings]):
    """Takes a folder, tars, img2dataset's output or a URL list into the corpus."""

    name = "ingest"
    help = "Import a folder, tars, img2dataset output or a URL list."
    Settings = IngestSettings
    retried = True

    def missing(self) -> str | None:
        """The source."""
        if self.settings.source:
            return None
        return (
            "ingest.source is not set; give ingest.source=PATH "
            "(a folder, tars, img2dataset output or a URL list)"
        )

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Tars, claims, records, and which records a retry stands for."""
        records = f"tables/records/{tables['records']}"
        yield from ("images", CLAIMS, HOSTS, records, f"{records}/_retried")

    def pin(self, run: Run) -> Mapping[str, str]:
        """Nothing: the hash of `records` follows from its version alone."""
        return {}

    def count(self, run: Run) -> None:
        """Says what the source holds, and what of it is new."""
        self._plan(run)

    def do(self, run: Run) -> None:
        """Claims what is new, and builds the shards that are not built yet."""
        plan = self._plan(run)
        unfinished = len(plan.todo) > plan.new_shards
        self._build(run, plan.todo, plan.found if unfinished else plan.new)

    def retry(self, run: Run) -> None:
        """Downloads again what failed in a way that may pass, into shards of their own."""
        plan = plan_retry(run.corpus, self.settings, dry_run=run.dry_run)
        committed = set(run.corpus.shards())
        failed = [n for n in run.newest_failed_shards(self.name) if n not in committed]
        todo = sorted({*plan.todo, *failed})
        if not todo and not plan.rows:
            run.had_nothing(self.name)
            return
        if run.dry_run:
            said = [f"{plan.rows:,} downloads to retry"] * bool(plan.rows)
            said += [f"{len(failed):,} image shards that failed"] * bool(failed)
            run.say(f"{self.name}: {', and '.join(said)}")
            return
        if plan.todo:
            run.say(f"{plan.rows:,} downloads to retry, in {len(plan.todo)} image shards")
        if self._build(run, todo, plan.rows):
            run.say(f"  to measure the new images: {command('curate', run.corpus.uri)}")

    def _plan(self, run: Run) -> IngestPlan:
        choice = run.choice
        plan = plan_ingest(
            run.corpus,
            self.settings,
            limit=choice.limit,
            sample=choice.sample,
            dry_run=run.dry_run,
            planning=Planning(run.say),
        )
        for line in plan.lines():
            run.say(line)
        return plan

    def _build(self, run: Run, todo: list[int], rows: int) -> int:
        """Builds image shards, of so many rows at most; returns how many images they got."""
        task = BuildTask(
            run.corpus.uri, run.corpus.store.storage_options, self.settings.storage_options
        )
        report = run.loop(self, task, (Item(n) for n in todo), len(todo), rows=rows)
        remove_empty(run.corpus)
        return report.summary.done
