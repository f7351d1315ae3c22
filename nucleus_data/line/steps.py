"""The stages as steps of a run.

Each does its work, pins what it made, and says what became of the rows.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.line.check import check_captions
from nucleus_data.line.recipe import STAGE_NAMES
from nucleus_data.runner.loop import Item, StageReport
from nucleus_data.runner.rows import Summary
from nucleus_data.runner.run import Run
from nucleus_data.stages.ingest import build_shard, plan_ingest, plan_retry
from nucleus_data.stages.ingest.work_folder import remove_empty
from nucleus_data.stages.select.stage import publish, published
from nucleus_data.stages.select.step import STATES, decide_all, pin_selection
from nucleus_data.stages.shard import plan as planning
from nucleus_data.stages.shard.write import TarTask, plan_name, write_manifest
from nucleus_data.views.pairs import dedup, need_pairs

SET_VERSION = 1
DRY_RUN_THREADS = 8


@dataclass(frozen=True)
class BuildTask:
    """Builds one image shard from its claim (a task of the runner)."""

    uri: str
    storage_options: Mapping[str, Any]
    source_options: Mapping[str, Any]

    def run(self, number: int) -> Summary:
        """Writes the tar and its records."""
        corpus = Corpus(self.uri, self.storage_options)
        counts = build_shard(corpus, number, self.source_options)
        return Summary(
            rows=counts["rows"],
            done=counts["images"],
            failed=Counter(counts["reasons"]),
            bytes=counts["bytes"],
        )


def ingest(run: Run) -> None:
    """Takes a source's new rows into the corpus."""
    settings = run.recipe.ingest
    if not settings.source:
        raise RequestError(
            "ingest.source is not set; give ingest.source=PATH "
            "(a folder, tars, img2dataset output or a URL list)"
        )
    plan = plan_ingest(
        run.corpus, settings, limit=run.limit, sample=run.sample, dry_run=run.dry_run
    )
    for line in plan.lines():
        run.say(line)
    if run.dry_run:
        return
    task = BuildTask(run.recipe.corpus, run.recipe.storage_options, settings.storage_options)
    run.loop("ingest", task, (Item(n) for n in plan.todo), len(plan.todo))
    remove_empty(run.corpus)


def row_stage(run: Run, stage: str, *, retry: bool = False) -> None:
    """Runs a row stage (`inspect`, `embed`, `caption`) on the rows that lack a result."""
    if run.stages[stage].chooses == "kept":
        use_selection(run)
    job = run.stage_job(stage, retry=retry)
    shards = run.corpus.shards()
    if retry:
        shards = _shards_to_retry(run, stage, shards)
    if run.dry_run:
        with ThreadPoolExecutor(DRY_RUN_THREADS) as pool:
            items = run.items(job, shards)
            counts = [s.summary for s in pool.map(lambda i: job.open(i.number, i.limit), items)]
        rows, already = sum(c.rows for c in counts), sum(c.already for c in counts)
        run.say(f"{stage}: {rows:,} rows, {already:,} done before, {rows - already:,} to do")
        return
    run.loop(stage, job, run.items(job, shards), len(shards))


def embed(run: Run) -> None:
    """Embeds and scores the images that are kept or wait for their scores."""
    if run.recipe.embed.model is None:
        raise RequestError(
            "embed.model is not set; give nano, a folder, or a hub name with embed.revision"
        )
    row_stage(run, "embed")


def select(run: Run) -> dict[str, int]:
    """Decides about every record, and checks the sums."""
    decisions = pin_selection(run)
    need_pairs(run)
    if run.dry_run:
        shards = len(run.corpus.shards())
        run.say(f"select: {len(decisions.rules)} rules, {shards} shards to decide about")
        return {}
    run.write_plan()
    before = published(run.corpus, run.tables["selection"])
    if before:
        report = StageReport("select")
        report.summary = Summary(rows=before["records"], already=before["records"])
        run.keep(report, quiet=True)
        _say_selection(run, before, "decided before")
        return dict(before["states"])
    report = decide_all(run, run, decisions)
    if report.failed:
        return {}
    states = {state: report.summary.extra.get(state, 0) for state in STATES}
    content = {
        "records": report.summary.rows,
        "states": states,
        "counts": dict(report.summary.extra),
    }
    publish(run.corpus, run.tables["selection"], content)
    _say_selection(run, content, f"{report.seconds:.1f} s")
    return states


def _say_selection(run: Run, content: Mapping[str, Any], took: str) -> None:
    sums = " + ".join(f"{content['states'][state]:,} {state}" for state in STATES)
    run.say(f"select: {content['records']:,} records = {sums} ({took})")
    words = {"reasons": "", "pending_on": "waiting for ", "nulls": "NULL in ", "tier": "kept in "}
    for name, count in sorted(content["counts"].items()):
        kind, _, rule = name.partition(":")
        if kind in words:
            run.say(f"  {words[kind]}{rule}: {count:,}")


def pin_training_set(run: Run, *, whole: bool = False) -> None:
    """Finds the selection, and names the training set that it and the captions make.

    Args:
        run: The run.
        whole: The set of all kept records, whatever the run's limit and sample are.
    """
    use_selection(run)
    settings = run.recipe.shard
    captions = check_captions(run.recipe)
    inputs = {n: run.tables[n] for n in ("selection", "inspect.file", *captions)}
    identity = {
        "version": SET_VERSION,
        "settings": settings.model_dump(mode="json"),
        "inputs": inputs,
        "parts": run.corpus.parts_hash(inputs),
        "limit": None if whole else run.limit,
        "sample": 1.0 if whole else run.sample,
    }
    run.training_set = f"sets/{settings.name}/{config_hash(identity)}"


def shard(run: Run) -> None:
    """Makes the training set of the selection."""
    pin_training_set(run)
    settings, folder = run.recipe.shard, run.training_set
    assert folder is not None
    query = planning.plan_query(
        run.corpus, run.tables, settings, limit=run.limit, sample=run.sample
    )
    if run.dry_run:
        rows = run.corpus.connection().sql(
            f"SELECT count(*), count(*) FILTER (len(captions) = 0) FROM ({query})"
        )
        total, without = rows.fetchall()[0]
        run.say(f"shard: {total:,} kept records, {without:,} of them without a caption")
        return
    run.write_plan()
    store = run.corpus.store
    if store.exists(f"{folder}/manifest.parquet"):
        run.say(f"shard: the set is there already: {store.url(folder)}")
        return
    run.sweep()
    tars = 0
    for tar in planning.plan_tars(run.corpus, query, settings):
        store.create(f"{folder}/{plan_name(tar.number)}", planning.encode_plan(tar))
        tars += 1
    without = planning.left_out(run.corpus, query)
    sink = pa.BufferOutputStream()
    pq.write_table(without, sink, compression="zstd")
    store.create(f"{folder}/left_out.parquet", sink.getvalue().to_pybytes())
    task = TarTask(run.recipe.corpus, run.recipe.storage_options, folder)
    report = run.loop("shard", task, (Item(n) for n in range(tars)), tars)
    if report.failed:
        return
    manifest = write_manifest(run.corpus, folder, tars)
    samples = sum(manifest.column("samples").to_pylist())
    run.say(
        f"  {samples:,} samples in {tars} training shards; "
        f"{without.num_rows:,} kept records left out (no caption)"
    )
    run.say(f"  {store.url(folder)}/manifest.parquet")


def use_selection(run: Run) -> None:
    """Finds the selection of the current tables and pins it.

    Raises:
        RequestError: `select` was not run since the tables or the rules changed.
    """
    asked = (run.limit, run.sample)
    for limit, sample in dict.fromkeys([(None, 1.0), asked]):
        run.limit, run.sample = limit, sample
        try:
            pin_selection(run)
        finally:
            run.limit, run.sample = asked
        if published(run.corpus, run.tables["selection"]):
            return
    raise RequestError(
        f"there is no selection for the tables and rules as they are now; "
        f"run: nucleus select corpus={run.recipe.corpus}"
    )


def _shards_to_retry(run: Run, stage: str, shards: list[int]) -> list[int]:
    """Shards with rows of a stage that failed and have no value since."""
    found: set[int] = set()
    for spec in run.stages[stage].tables():
        table = Table(run.corpus.store, spec.name, run.tables[spec.name])
        found.update(s for s in table.failed.shards() if len(run.corpus.failed_rows(table, s)))
    return [s for s in shards if s in found]


def report(run: Run) -> None:
    """Writes the page, from this run's stages and, of those it did not run, the newest ones."""
    from nucleus_data.pages import write_report

    if run.dry_run:
        run.say("report: one page")
        return
    if run.training_set is None:
        try:
            pin_training_set(run)
        except RequestError as error:
            run.say(f"report: without a selection ({error})")
    run.write_plan()
    run.inherit(STAGE_NAMES)
    folder = run.training_set
    if folder and not run.corpus.store.exists(f"{folder}/manifest.parquet"):
        folder = None
    url = write_report(
        run.corpus,
        run.name,
        run.tables,
        training_set=folder,
        thumbnails=run.recipe.report.thumbnails,
    )
    run.say(f"report: {url}")


def train(run: Run) -> None:
    """Trains on the training set of the selection.

    A limit and a sample choose from the whole set. Where there is none, the set that `shard` made
    with the same ones is taken, and taken whole, as is the set that this very run made.
    """
    from nucleus_data.stages.train.stage import quick_train

    limit, sample = None, 1.0
    if run.training_set is None:
        pin_training_set(run, whole=True)
        limit, sample = run.limit, run.sample
        found = run.training_set
        if not run.corpus.store.exists(f"{found}/manifest.parquet"):
            pin_training_set(run)
            if run.corpus.store.exists(f"{run.training_set}/manifest.parquet"):
                limit, sample = None, 1.0
            else:
                run.training_set = found
        if not run.dry_run:
            run.write_plan()
    quick_train(run, limit=limit, sample=sample)


def retry(run: Run, stage: str) -> None:
    """Does again a stage's failed rows, and the shards that its newest run failed on.

    Args:
        run: The run.
        stage: A row stage; or `ingest`, whose failed rows are URLs that may answer now.
    """
    if stage == "ingest":
        _retry_ingest(run)
        return
    failed = run.newest_failed_shards(stage)
    rows = _shards_to_retry(run, stage, run.corpus.shards())
    if not rows and not failed:
        run.say(f"{stage}: nothing to retry")
        return
    row_stage(run, stage, retry=True)
    if failed:
        job = run.stage_job(stage)
        run.loop(stage, job, run.items(job, failed), len(failed))


def _retry_ingest(run: Run) -> None:
    plan = plan_retry(run.corpus, run.recipe.ingest)
    committed = set(run.corpus.shards())
    failed = [n for n in run.newest_failed_shards("ingest") if n not in committed]
    todo = sorted({*plan.todo, *failed})
    if not todo:
        run.say("ingest: nothing to retry")
        return
    if plan.todo:
        run.say(f"{plan.rows:,} downloads to try again, in {len(plan.todo)} image shards")
    settings = run.recipe.ingest
    task = BuildTask(run.recipe.corpus, run.recipe.storage_options, settings.storage_options)
    report = run.loop("ingest", task, (Item(n) for n in todo), len(todo))
    remove_empty(run.corpus)
    if report.summary.done:
        run.say(f"  to measure the new images: nucleus curate corpus={run.recipe.corpus}")


STEPS: dict[str, Callable[[Run], object]] = {
    "ingest": ingest,
    "inspect": lambda run: row_stage(run, "inspect"),
    "dedup": dedup,
    "select": select,
    "embed": embed,
    "caption": lambda run: row_stage(run, "caption"),
    "shard": shard,
    "quick_train": train,
    "report": report,
}
