"""`nucleus status`: what a corpus holds."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.again import half_copied
from nucleus_data.corpus.caption_sets import PREFIX, CaptionSet, is_import, is_whole
from nucleus_data.corpus.counts import Counts
from nucleus_data.corpus.damaged import WHOLE
from nucleus_data.corpus.looking import going_without, without_lines
from nucleus_data.corpus.published import published
from nucleus_data.corpus.runs import FAILURES, PLAN, path_of, read_json, read_lines, stage_lines
from nucleus_data.corpus.states import STATES
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.told import command as told
from nucleus_data.corpus.told import ingesting
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.line.counting import count_tables
from nucleus_data.line.lines import LINES, RETRIED
from nucleus_data.line.mix import mix_lines, preserve_condition, stored_routes
from nucleus_data.line.steps import without_missing
from nucleus_data.printed import visible
from nucleus_data.runner.run import Run
from nucleus_data.sets.layout import all_sets
from nucleus_data.stage import RowStage, Stage
from nucleus_data.stages.caption.settings import Mix
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.ingest.claims import FOLDER as CLAIMS
from nucleus_data.stages.select.check import upstream_columns
from nucleus_data.stages.select.plan import TABLE as SELECTION
from nucleus_data.stages.select.stage import filling_of, published_selection

RECORDS = "records"
LOOKING = ("what-if", "diff", "pairs", "fit-curriculum")  # commands that change no table
REPORT = "report"
NOW, OTHER = "of the tables and rules as they are now", "of other tables or rules"


def status(run: Run, stages: Mapping[str, Stage[Any]]) -> dict[str, Any]:
    """What a corpus holds: records, rows of each table, selections, sets, runs.

    Damaged files are left out of it, and listed.

    Args:
        run: A run that only looks.
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
    """Where captions come from, if a mix is wanted: all records are read for it."""
    stage = stages[Caption.name]
    assert isinstance(stage, Caption)
    settings = stage.settings
    if settings.mix is None:
        return {}
    preserve = preserve_condition(settings, run.pins, lambda: upstream_columns(corpus))
    routes = stored_routes(corpus, now, settings, preserve)
    return {"caption_mix": dict(routes), "caption_mix_wanted": settings.mix.model_dump()}


def _now(run: Run, stages: Mapping[str, Stage[Any]]) -> dict[str, str]:
    """Config hash of each table of this configuration, the pairs and the selection among them."""
    found = dict(run.tables)
    select: Any = stages["select"]
    try:
        found |= stages[PAIRS].pin(run)  # type: ignore[attr-defined]
        if run.corpus.config_hashes(SELECTION):  # reading the rules takes a while
            found |= select.named(run)
    except (RequestError, CorpusError):  # a rule or a part is wrong; whoever selects is told
        pass
    return found


def _content(
    corpus: Corpus, now: Mapping[str, str], stages: Mapping[str, Stage[Any]]
) -> dict[str, Any]:
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
    """Shards that are not counted, if there are some."""
    return {"not_counted_shards": counts.unknown} if counts.unknown else {}


def _of_all_images(stage: Stage[Any]) -> Sequence[Any]:
    """The tables that a stage fills for every image."""
    return stage.tables() if isinstance(stage, RowStage) and stage.chooses == "all" else ()


def _about(table: Table, counts: Counts) -> dict[str, Any]:
    """A table's rows; of these, rows without values; and those that failed in a way that may pass.

    The latter are no rows yet.
    """
    return {
        "config_hash": table.config_hash,
        "rows": counts.rows,
        "failed": counts.failed,
        "failed_retryable": counts.retryable,
        **_unknown(counts),
    }


def _note(corpus: Corpus, name: str, hashed: str, now: Mapping[str, str]) -> str:
    """Why a table is none of those that the configuration names; empty if it is one."""
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
    """The newest run that worked: what it did, what of its command it did not, failed shards."""
    for name in reversed(corpus.runs()):
        plan = read_json(corpus.store, path_of(name, PLAN))
        if plan.get("command") not in LOOKING:
            return _did_in(corpus, name, plan, stages)
    return None


def _did_in(
    corpus: Corpus, name: str, plan: Mapping[str, Any], stages: Mapping[str, Stage[Any]]
) -> dict[str, Any]:
    ended = stage_lines(corpus.store, name)
    done = [line["stage"] for line in ended]
    said = [text for line in ended for text in line.get("told", ())]
    if corpus.store.exists(path_of(name, f"{REPORT}.html")):
        done.append(REPORT)
    line = LINES.get(str(plan.get("command")))
    # What the run left out for lack of a setting it knew itself.
    steps = plan.get("steps") or (without_missing(stages, line.steps) if line else [])
    failures, _ = read_lines(corpus.store, path_of(name, FAILURES))
    return {
        "run": name,
        "done": list(dict.fromkeys(done)),
        "not_done": [step for step in dict.fromkeys(steps) if step not in done],
        "failed_shards": len(failures),
    } | ({"told": said} if said else {})


def status_lines(content: dict[str, Any]) -> Iterator[str]:
    """The status for people."""
    yield (
        f"{content['corpus']}: {content['records']:,} records in {content['shards']:,} image shards"
    )
    if content.get("not_counted_shards"):
        yield f"  at least{_not_counted(content)}"
    again = bool(content["failed_records_retryable"])
    if failed := content["failed_records"]:
        passing = content["failed_records_retryable"]
        yield f"  {failed:,} of them failed: they have no image" + _passing(passing)
    if content["claimed_shards"] > content["shards"]:
        unfinished = content["claimed_shards"] - content["shards"]
        yield (
            f"  {unfinished} claimed shards are not ingested yet; "
            f"run: {ingesting(content['corpus'])}"
        )
    if not content["several_writers"]:
        yield "  this store cannot refuse to overwrite: one writer at a time"
    rows = [*_tables(content), *_selections(content)]
    names = [name for name, _, _ in rows]
    names += ["training set"] * bool(content["training_sets"] or content["unfinished_sets"])
    width = max(map(len, [*names, "last run"]))
    for name, hashed, text in rows:
        yield f"  {name:<{width}}  {hashed:<16}  {text}"
    for folder in content["training_sets"]:
        yield f"  {'training set':<{width}}  {folder}"
    for folder in content["unfinished_sets"]:
        yield f"  {'training set':<{width}}  {folder} (not finished)"
    if "caption_mix" in content:
        wanted = Mix.model_validate(content["caption_mix_wanted"])
        for line in mix_lines(Counter(content["caption_mix"]), wanted):
            yield f"  {'captions':<{width}}  {line.strip()}"
    if last := content["last_run"]:
        yield f"  {'last run':<{width}}  {last['run']}: {'; '.join(_did(last))}"
        for text in last.get("told", ()):
            yield f"  {'':<{width}}  {visible(str(text))}"
        again = again or bool(last["failed_shards"])
    again = again or any(
        table["failed_retryable"] and name.partition(".")[0] in RETRIED
        for name, table in content["tables"].items()
    )
    if again:
        yield f"to do again what may pass: {told('retry', content['corpus'])}"
    yield from without_lines(content["left_out"])


def _tables(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, config hash and counts of each table, those of other configurations last."""
    named = [({"table": n, "note": ""} | t) for n, t in content["tables"].items()]
    for table in [*named, *content["other_tables"]]:
        what = "pairs" if table["table"] == PAIRS else "rows"
        text = f"{table['rows']:>10,} {what}"
        if table["failed"]:
            text += f", {table['failed']:,} of them failed"
        if table["failed_retryable"]:
            text += f", {table['failed_retryable']:,} more failed for now"
        if table.get("missing"):
            text += f", {table['missing']:,} images not done yet"
        text += _not_counted(table)
        note = f" ({table['note']})" if table["note"] else ""
        yield table["table"], table["config_hash"], text + note


def _not_counted(content: Mapping[str, Any]) -> str:
    """Of what is too much to be counted here, that the next run that ends does so."""
    count = content.get("not_counted_shards", 0)
    return f", {count:,} image shards not counted (the next run counts them)" * bool(count)


def _selections(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The selections, each with its counts; that of now is marked."""
    for hashed, states in content["selections"].items():
        counts = ", ".join(f"{states[s]:,} {s}" for s in STATES if states.get(s))
        note = NOW if hashed == content["selection"] else OTHER
        yield "selection", hashed, f"{counts} ({note})"
        if tiers := content["tiers"][hashed]:
            counts = ", ".join(f"{count:,} {tier}" for tier, count in tiers.items())
            yield "", "", f"kept by quality tier: {counts}"
        if filling := content["curricula"][hashed]:
            counts = ", ".join(f"{count:,} {bucket}" for bucket, count in filling.items())
            yield "", "", f"kept by curriculum bucket: {counts}"


def _did(last: Mapping[str, Any]) -> Iterable[str]:
    yield f"did {', '.join(last['done'])}" if last["done"] else "no stage ended in it"
    if last["not_done"]:
        yield f"not done: {', '.join(last['not_done'])} (it is still going, or ended early)"
    if last["failed_shards"]:
        yield f"{last['failed_shards']:,} shards failed"


def _passing(count: int) -> str:
    return f", {count:,} in a way that may pass" if count else ""
