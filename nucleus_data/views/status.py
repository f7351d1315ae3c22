"""`nucleus status`: counts of records and table rows, and lists of selections, sets and runs."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import PREFIX, CaptionSet, is_import, is_whole
from nucleus_data.corpus.counts import Counts
from nucleus_data.corpus.damaged import WHOLE, DamagedError
from nucleus_data.corpus.looking import going_without
from nucleus_data.corpus.published import published
from nucleus_data.corpus.renewed import half_copied
from nucleus_data.corpus.runs import FAILURES, PLAN, path_of, read_json, read_lines, stage_lines
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.line.counting import count_tables
from nucleus_data.line.lines import LINES
from nucleus_data.line.mix import preserve_condition, stored_routes
from nucleus_data.line.steps import without_missing
from nucleus_data.runner.run import Run
from nucleus_data.sets.layout import all_sets
from nucleus_data.stage import RowStage, Stage
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.ingest.claims import FOLDER as CLAIMS
from nucleus_data.stages.select.check import upstream_columns
from nucleus_data.stages.select.plan import TABLE as SELECTION
from nucleus_data.stages.select.stage import filling_of, published_selection
from nucleus_data.views.status_lines import OTHER

RECORDS = "records"
# Commands whose runs change no table, and are not shown as the last run.
LOOKING = (
    "what-if",
    "diff",
    "pairs",
    "fit-curriculum",
    "verify",
    "calibrate",
    "train-head",
    "captions-diff",
)
REPORT = "report"


def status(run: Run, stages: Mapping[str, Stage[Any]]) -> dict[str, Any]:
    """Returns the state of a corpus, JSON-able: counts of records and table rows, selections, ...

    Damaged files are left out, and listed under `left_out`.

    Args:
        run: A dry run.
        stages: The recipe's stages, by name.
    """

    def content(corpus: Corpus) -> dict[str, Any]:
        found = _content(corpus, now, stages)
        if found["selection"]:
            found |= _mix(corpus, now, stages, run)
        return found

    with run.corpus.store.listing_once():
        now = _now(run, stages)
        return going_without(run.corpus, content)


def _mix(
    corpus: Corpus, now: Mapping[str, str], stages: Mapping[str, Stage[Any]], run: Run
) -> dict[str, Any]:
    """Returns the mix of captions, if one is configured; reads all records for it."""
    stage = stages[Caption.name]
    assert isinstance(stage, Caption)
    settings = stage.settings
    if settings.mix is None:
        return {}
    preserve = preserve_condition(settings, run.pins, lambda: upstream_columns(corpus))
    routes = stored_routes(corpus, now, settings, preserve)
    return {"caption_mix": dict(routes), "caption_mix_wanted": settings.mix.model_dump()}


def _now(run: Run, stages: Mapping[str, Stage[Any]]) -> dict[str, str]:
    """Returns table -> config hash in this configuration, with those of pairs and selection."""
    found = dict(run.tables)
    select: Any = stages["select"]
    try:
        found |= stages[PAIRS].pin(run)  # type: ignore[attr-defined]
        if run.corpus.config_hashes(SELECTION):  # reading the rules takes a while
            # Also caches the parts' schemas, so that checking the rules reads no footer again.
            with suppress(DamagedError):
                list(count_tables(run.corpus, [run.corpus.records]))
            found |= select.named(run)
    except (RequestError, CorpusError):  # reported by `nucleus select`
        pass
    return found


def _content(
    corpus: Corpus, now: Mapping[str, str], stages: Mapping[str, Stage[Any]]
) -> dict[str, Any]:
    """Returns all of the status except the mix of captions.

    Args:
        corpus: The corpus, possibly without damaged files.
        now: Table -> config hash in this configuration.
        stages: The recipe's stages, by name.
    """
    shards = corpus.shards()
    tables: dict[str, dict[str, Any]] = {}
    others: list[dict[str, Any]] = []
    selections, tiers, curricula = {}, {}, {}
    of_all = {spec.name for stage in stages.values() for spec in _of_all_images(stage)}
    order = {stage: place for place, stage in enumerate(stages)}
    found = corpus.store.list("tables")
    listed: list[Table] = []
    for name in sorted(found, key=lambda name: order.get(name.partition(".")[0], len(order))):
        for hashed in corpus.config_hashes(name):
            if name == SELECTION and (made := published_selection(corpus.store, hashed)):
                selections[hashed] = made.get("states", {})
                counts = sorted(made.get("counts", {}).items())
                tiers[hashed] = {n[5:]: count for n, count in counts if n.startswith("tier:")}
                curricula[hashed] = dict(filling_of(made.get("counts", {})))
            elif name != RECORDS:
                listed.append(Table(corpus.store, name, hashed))
    records, *counts_of = count_tables(corpus, [corpus.records, *listed])
    for table, rows in zip(listed, counts_of, strict=True):
        about = _about(table, rows)
        if note := _note(corpus, table.name, table.config_hash, now):
            others.append({"table": table.name, **about, "note": note})
            continue
        if table.name in of_all and not rows.unknown:
            reached = about["rows"] + about["failed_retryable"]
            about["missing"] = max(0, records.rows - records.failed - reached)
        tables[table.name] = about
    sets = list(all_sets(corpus.store))
    return {
        "corpus": corpus.uri,
        "several_writers": corpus.several_writers,
        "shards": len(shards),
        "claimed_shards": len(corpus.store.list(CLAIMS)),
        "records": records.rows,
        "failed_records": records.failed,
        "failed_records_retryable": records.retryable,
        **_unknown(records),
        "tables": tables,
        "other_tables": others,
        "selections": selections,
        "selection": now.get(SELECTION) if now.get(SELECTION) in selections else None,
        "tiers": tiers,
        "curricula": curricula,
        "training_sets": [found.path for found in sets if found.published],
        "unfinished_sets": [found.path for found in sets if not found.published],
        "runs": corpus.runs(),
        "last_run": _last_run(corpus, stages),
        "left_out": [error.content() for error in corpus.left_out],
    }


def _unknown(counts: Counts) -> dict[str, int]:
    """Returns the number of shards that were not counted; empty if all were."""
    return {"not_counted_shards": counts.unknown} if counts.unknown else {}


def _of_all_images(stage: Stage[Any]) -> Sequence[Any]:
    """Returns the specifications of a stage's tables that get a row for every image."""
    return stage.tables() if isinstance(stage, RowStage) and stage.chooses == "all" else ()


def _about(table: Table, counts: Counts) -> dict[str, Any]:
    """Returns a table's counts: all rows, failed ones among them, and retryable failures.

    Retryable failures are stored apart, and not counted in `rows`.
    """
    return {
        "config_hash": table.config_hash,
        "rows": counts.rows,
        "failed": counts.failed,
        "failed_retryable": counts.retryable,
        **_unknown(counts),
    }


def _note(corpus: Corpus, name: str, hashed: str, now: Mapping[str, str]) -> str:
    """Returns why a table does not belong to this configuration; empty if it does."""
    if name in WHOLE and not published(corpus.store, f"tables/{name}/{hashed}"):
        return "not finished"
    if now.get(name) == hashed:
        return ""
    if command := half_copied(corpus.store, name, hashed):
        return f"half copied: run the same `{command} ...` again, or remove the folder"
    if name.startswith(PREFIX):
        one = CaptionSet(name.removeprefix(PREFIX), hashed)
        if is_import(corpus.store, one):
            return "imported" if is_whole(corpus.store, one) else "not finished"
    return OTHER if name in WHOLE else "of another configuration"


def _last_run(corpus: Corpus, stages: Mapping[str, Stage[Any]]) -> dict[str, Any] | None:
    """Returns the newest run that changed tables: its stages, missing stages, failed shards."""
    for name in reversed(corpus.runs()):
        plan = read_json(corpus.store, path_of(name, PLAN))
        if plan.get("command") not in LOOKING:
            return _did_in(corpus, name, plan, stages)
    return None


def _did_in(
    corpus: Corpus, name: str, plan: Mapping[str, Any], stages: Mapping[str, Stage[Any]]
) -> dict[str, Any]:
    """Returns what a run did and did not do.

    Args:
        corpus: The corpus.
        name: The run.
        plan: The run's `plan.json`.
        stages: The recipe's stages, by name.
    """
    ended = stage_lines(corpus.store, name)
    if own := plan.get("steps"):  # a report has the lines of earlier runs, too
        ended = [line for line in ended if line["stage"] in own]
    done = [line["stage"] for line in ended]
    said = [text for line in ended for text in line.get("told", ())]
    if corpus.store.exists(path_of(name, f"{REPORT}.html")):
        done.append(REPORT)
    line = LINES.get(str(plan.get("command")))
    # What the run left out for lack of a setting it knew itself.
    steps = plan.get("steps") or (without_missing(stages, line.steps) if line else [])
    idle = [stage for stage in plan.get("nothing_to_retry") or () if stage not in done]
    failures, _ = read_lines(corpus.store, path_of(name, FAILURES))
    return {
        "run": name,
        "done": list(dict.fromkeys(done)),
        "nothing_to_retry": idle,
        "not_done": [step for step in dict.fromkeys(steps) if step not in (*done, *idle)],
        "failed_shards": len(failures),
        "failed_stages": sorted({str(failure.get("stage")) for failure in failures}),
    } | ({"told": said} if said else {})
