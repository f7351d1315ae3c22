"""A run: what one command did.

It pins its config hashes at its start and keeps times, failures and reports.

runs/<run>/plan.json        configuration and config hashes; no table or set depends on a run's name
runs/<run>/stages.jsonl     one line a stage: counts, reasons, seconds by phase
runs/<run>/failures.jsonl   one line a failed shard, with its traceback
"""

import datetime
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import Recipe
from nucleus_data.runner.cluster import check_corpus_uri
from nucleus_data.runner.loop import Item, Loop, Resources, StageReport, Task
from nucleus_data.runner.rows import StageJob

Say = Callable[[str], None]
SHOWN_FAILURES = 5


class Run:
    """One command's run over a corpus.

    Args:
        recipe: The configuration.
        command: Name for people, for example `inspect`.
        limit: Work on at most this many records (the first ones).
        sample: Work on this share of the records, chosen by a keyed hash of their ids.
        dry_run: Count, do no work, write nothing.
        create: Make the corpus if there is none.
        say: Where lines for people go.

    Raises:
        RequestError: The corpus is missing, of another version, or a relative path inside a Ray
            job.
    """

    def __init__(
        self,
        recipe: Recipe,
        command: str,
        *,
        limit: int | None = None,
        sample: float = 1.0,
        dry_run: bool = False,
        create: bool = False,
        say: Say = print,
    ) -> None:
        if not recipe.corpus:
            raise RequestError(
                "corpus is not set; give corpus=PATH (a folder, or s3://bucket/prefix)"
            )
        check_corpus_uri(recipe.corpus)
        self.recipe = recipe
        self.command = command
        self.limit = limit
        self.sample = sample
        self.dry_run = dry_run
        self.say = say
        self.corpus = Corpus(recipe.corpus, recipe.storage_options, create=create, dry_run=dry_run)
        self.tables = recipe.table_hashes()
        self.stages = recipe.stages()
        self.training_set: str | None = None
        self.failed_shards = 0
        self.lines: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.name = "" if dry_run else self._begin()
        if not dry_run:
            self.write_plan()

    def _begin(self) -> str:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        name = f"{stamp}-{self.command}"
        number = 1
        owner = uuid.uuid4().hex.encode()
        while not self.corpus.store.create(f"runs/{name}/owner", owner):
            number += 1
            name = f"{stamp}-{self.command}-{number}"
        self.sweep()
        return name

    def sweep(self) -> None:
        """Removes what killed processes of this machine left half written, here and now."""
        store = self.corpus.store
        for folder in ("images", "claims", *(f"tables/{t}/{h}" for t, h in self.tables.items())):
            store.sweep(folder)
            store.sweep(f"{folder}/_failed")
            store.sweep(f"{folder}/_walk")
        store.sweep(self.corpus.records.retried.folder)
        if self.training_set:
            for folder in ("_plan", "_done"):
                store.sweep(f"{self.training_set}/{folder}")
            for resolution in self.recipe.shard.resolutions:
                for aspect in self.recipe.shard.aspects:
                    store.sweep(f"{self.training_set}/{resolution}/{aspect}")

    def path(self, name: str) -> str:
        """Path below the corpus of a file of this run."""
        return f"runs/{self.name}/{name}"

    def chosen(self) -> str:
        """The options that choose records, for a command that is told to people; or nothing."""
        limit = "" if self.limit is None else f" --limit {self.limit}"
        return limit + ("" if self.sample == 1 else f" --sample {100 * self.sample:g}%")

    def stage_job(self, stage: str, *, retry: bool = False) -> StageJob:
        """What workers need for a row stage."""
        resources = self.resources(stage)
        return StageJob(
            uri=self.recipe.corpus,
            storage_options=self.recipe.storage_options,
            stage=self.stages[stage],
            tables=self.tables,
            sample=self.sample,
            retry=retry,
            row_timeout_s=resources.row_timeout_s,
            row_memory_bytes=int(resources.row_memory_gb * (1 << 30)),
        )

    def resources(self, stage: str) -> Resources:
        """The workers of a stage."""
        found: Resources = getattr(self.recipe.resources, stage)
        return found

    def items(self, job: StageJob, shards: Iterable[int]) -> Iterator[Item]:
        """The shards to do; with a limit, only as many as hold that many records."""
        remaining = self.limit
        for shard in shards:
            if remaining is None:
                yield Item(shard)
                continue
            if remaining <= 0:
                return
            count = min(remaining, job.open(shard).summary.rows)
            remaining -= count
            if count:
                yield Item(shard, count)

    def loop(
        self,
        stage: str,
        work: StageJob | Task,
        items: Iterable[Item],
        total: int | None,
        *,
        keep: bool = True,
    ) -> StageReport:
        """Runs items through Ray; says what became of them and, if `keep`, notes it in the run.

        `stage` is a stage's name; a phase of it may follow, after a space.
        """
        report = Loop(stage, work, self.resources(stage.split()[0])).run(items, total)
        if report.deaths:
            self.sweep()
        if keep:
            self.keep(report)
        return report

    def keep(self, report: StageReport, *, quiet: bool = False) -> None:
        """Writes a stage's counts and failures under the run, and says them."""
        summary = report.summary
        line = {
            "stage": report.stage,
            "seconds": round(report.seconds, 3),
            "setup_seconds": round(report.setup_seconds, 3),
            "shards": report.shards,
            "failed_shards": len(report.failed),
            "worker_deaths": report.deaths,
            "rows": summary.rows,
            "already": summary.already,
            "done": summary.done,
            "failed": sum(summary.failed.values()),
            "retryable": summary.retryable,
            "reasons": dict(sorted(summary.failed.items())),
            "bytes": summary.bytes,
            "extra": dict(sorted(summary.extra.items())),
            "seconds_by_phase": {k: round(v, 3) for k, v in sorted(summary.seconds.items())},
        }
        self.lines.append(line)
        self.corpus.store.put(self.path("stages.jsonl"), _jsonl(self.lines))
        self.failed_shards += len(report.failed)
        for failed in report.failed:
            self.failures.append(
                {
                    "stage": report.stage,
                    "shard": failed.number,
                    "error": failed.error,
                    "traceback": failed.traceback,
                }
            )
        if report.failed:
            self.corpus.store.put(self.path("failures.jsonl"), _jsonl(self.failures))
        if not quiet:
            self.say(describe(report))
        for failed in report.failed[:SHOWN_FAILURES]:
            self.say(f"  shard {failed.number:06d} failed: {failed.error}")
        if report.failed:
            more = len(report.failed) - SHOWN_FAILURES
            self.say(
                (f"  and {more} more; " if more > 0 else "  ")
                + f"tracebacks: {self.corpus.store.url(self.path('failures.jsonl'))}\n"
                f"  run the same command again, or: nucleus retry corpus={self.recipe.corpus}"
            )

    def inherit(self, stages: Iterable[str]) -> None:
        """Takes over, for the report, the newest earlier lines about stages not in this run."""
        store = self.corpus.store
        have = {line["stage"] for line in self.lines}
        for run in reversed([r for r in self.corpus.runs() if r < self.name]):
            try:
                lines = [json.loads(x) for x in store.read(f"runs/{run}/stages.jsonl").splitlines()]
            except FileNotFoundError:
                continue
            for line in lines:
                if line["stage"] in stages and line["stage"] not in have:
                    have.add(line["stage"])
                    self.lines.append(line)
                    if line["stage"] == "quick_train":
                        for name in store.list(f"runs/{run}/quick_train"):
                            if name.endswith((".jsonl", ".png", ".json")):
                                content = store.read(f"runs/{run}/quick_train/{name}")
                                store.put(self.path(f"quick_train/{name}"), content)
        order = list(stages)
        self.lines.sort(
            key=lambda line: order.index(line["stage"]) if line["stage"] in order else -1
        )
        store.put(self.path("stages.jsonl"), _jsonl(self.lines))

    def newest_failed_shards(self, stage: str) -> list[int]:
        """Shards that failed when this stage was last run, ascending."""
        store = self.corpus.store
        for run in reversed([r for r in self.corpus.runs() if r < self.name]):
            try:
                lines = [json.loads(x) for x in store.read(f"runs/{run}/stages.jsonl").splitlines()]
            except FileNotFoundError:
                continue
            mine = [line for line in lines if line["stage"] == stage]
            if not mine:
                continue
            if not any(line["failed_shards"] for line in mine):
                return []
            failures = store.read(f"runs/{run}/failures.jsonl").splitlines()
            found = [json.loads(x) for x in failures]
            return sorted(x["shard"] for x in found if x["stage"] == stage)
        return []

    def write_plan(self) -> None:
        """Pins the configuration and the config hashes known so far."""
        from nucleus_data import __version__

        plan = {
            "run": self.name,
            "command": self.command,
            "version": __version__,
            "tables": self.tables,
            "set": self.training_set,
            "limit": self.limit,
            "sample": self.sample,
            "config": self.recipe.public(),
        }
        content = json.dumps(plan, sort_keys=True, indent=1).encode()
        self.corpus.store.put(self.path("plan.json"), content)


def describe(report: StageReport) -> str:
    """One line for people: what a stage did, and how fast."""
    summary = report.summary
    parts = [f"{summary.rows:,} rows"]
    if summary.already:
        parts.append(f"{summary.already:,} done before")
    parts.append(f"{summary.done:,} done")
    if summary.failed:
        reasons = ", ".join(f"{name} {count:,}" for name, count in summary.failed.most_common(6))
        parts.append(f"{sum(summary.failed.values()):,} failed ({reasons})")
    if report.failed:
        parts.append(f"{len(report.failed)} SHARDS FAILED")
    if report.deaths:
        parts.append(f"{report.deaths} worker deaths")
    seconds = f"{report.seconds:.1f} s"
    if report.setup_seconds:
        seconds += f", of which {report.setup_seconds:.1f} s loading the model"
    worked = max(report.seconds - report.setup_seconds, 0.001)
    if summary.done and report.seconds > 0.5:
        seconds += f", {summary.done / worked:,.0f}/s"
    return f"{report.stage}: {', '.join(parts)} ({seconds})"


def _jsonl(lines: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()
