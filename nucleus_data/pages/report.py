"""Makes the report: queries the tables, reads the pictures, renders the page, and writes it.

Every section is a small dictionary for the template `report.html.j2`. If its tables or files are
missing, it is None or empty, and the template says what is missing and which command makes it.
"""

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jinja2

from nucleus_data.corpus import Corpus, runs
from nucleus_data.corpus.states import DUPLICATE, FAILED, KEPT
from nucleus_data.corpus.told import command, ingesting
from nucleus_data.pages import queries, runfiles, sections
from nucleus_data.pages import shown as shown_records
from nucleus_data.pages.charts.axis import short
from nucleus_data.pages.checked import Condition, checked_section
from nucleus_data.pages.clusters import clusters as largest
from nucleus_data.pages.pictures import thumbnails as fetch_thumbnails
from nucleus_data.pages.signals import signals
from nucleus_data.pages.tables import Tables, Workers

CLUSTERS = 12
CLUSTER_MEMBERS = 6
PACKAGES = ("duckdb", "pyarrow", "pillow")


def write_report(
    corpus: Corpus,
    run: str,
    tables: Mapping[str, str],
    *,
    training_set: str | None,
    thumbnails: int = 12,
    conditions: Sequence[Condition] = (),
    made_at: datetime | None = None,
    workers: Workers | None = None,
) -> str:
    """Writes `runs/<run>/report.html` and returns its path or URL.

    Args:
        corpus: The corpus.
        run: Name of the run. Its files (plan, seconds, failures, quick training) are shown if they
            exist.
        tables: Table name -> config hash, of exactly the tables that the run pinned.
        training_set: `sets/<name>/<config hash>`, or None if there is none.
        thumbnails: How many pictures are shown for each reason, and how many captioned records.
        conditions: Checks of captions on stored values.
        made_at: The time that is shown on the page; by default now. The page depends only on it
            and on the corpus.
        workers: Workers that run the queries if there are very many image shards; by default all
            queries run in this process.

    Returns:
        The path or URL of the page.
    """
    at = made_at or datetime.now(UTC)
    page = render(corpus, run, tables, training_set, thumbnails, at, conditions, workers)
    name = runs.path_of(run, "report.html")
    corpus.store.put(name, page.encode("utf-8", "replace"))
    return corpus.store.url(name)


def render(
    corpus: Corpus,
    run: str,
    hashes: Mapping[str, str],
    training_set: str | None,
    thumbnails: int,
    made_at: datetime,
    conditions: Sequence[Condition] = (),
    workers: Workers | None = None,
) -> str:
    """Returns the page's HTML; the arguments are those of `write_report`."""
    tables = Tables(corpus, hashes, workers)
    plan = runs.read_json(corpus.store, runs.path_of(run, runs.PLAN))
    decided = "selection" in tables
    ledger = queries.ledger(tables)
    reasons = shown_records.reason_groups(tables, thumbnails) if decided else []
    total, clusters = largest(tables, CLUSTERS, CLUSTER_MEMBERS) if decided else (0, [])
    captions = sections.caption_section(tables, thumbnails) if decided else None
    checked = checked_section(tables, plan, conditions) if decided else None
    marks = shown_records.marks(tables, plan, thumbnails) if decided else []
    kept = None
    if captions and (count := ledger.states.get(KEPT, 0)):
        kept = shown_records.kept_section(tables, captions, count, thumbnails)
    training = sections.training_section(corpus, training_set, ledger)
    learned = runfiles.quick_train(corpus.store, runs.path_of(run, runs.TRAINING))
    shown = [d for group in reasons for d in group["examples"]]
    for cluster in clusters:
        shown += [member.decision for member in cluster.members]
        shown += [cluster.kept] if cluster.kept else []
    shown += [d for mark in marks for group in mark["groups"] for d in group["examples"]]
    shown += [d for section in (captions, checked, kept) if section for d in section["examples"]]
    records = queries.records(tables, ((d.shard, d.row) for d in shown))
    safe = {d.id for d in shown if d.state != FAILED}
    pictures = fetch_thumbnails(corpus.store, (r for r in records.values() if r.id in safe))
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            corpus=corpus.uri,
            run=run,
            command=runfiles.command_line(plan),
            made_at=made_at.strftime("%Y-%m-%d %H:%M %Z").strip(),
            versions=versions(plan),
            hashes=sorted((name, hashed, name in tables) for name, hashed in tables.hashes.items()),
            figures=sections.figures(ledger, tables, captions, training, learned),
            decided=decided,
            ledger=ledger,
            funnel=sections.funnel_section(tables, ledger, training),
            curriculum=sections.curriculum_section(tables, training) if decided else None,
            checks=sections.checks(ledger, training) if decided else [],
            reasons=reasons,
            marks=marks,
            kept=kept,
            told=partial(_told, corpus.uri),
            clusters={
                "total": total,
                "dropped": ledger.states.get(DUPLICATE, 0),
                "shown": clusters,
            },
            captions=captions,
            checked=checked,
            training=training,
            training_set=training_set,
            learned=learned,
            learned_facts=sections.learned_facts(learned),
            loss=sections.loss_chart(learned),
            work=sections.work_section(corpus, run),
            signals=[(s, sections.signal_chart(s)) for s in signals(tables)],
            records=records,
            pictures=pictures,
        )
    )


def versions(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns names and versions: of nucleus-data in the run, and of what renders the page."""
    packages = [("nucleus-data", str(plan["version"]))] if plan.get("version") else []
    packages.append(("Python", platform.python_version()))
    for package in PACKAGES:
        try:
            packages.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return packages


@cache
def environment() -> jinja2.Environment:
    """Returns the environment of the templates, with their filters; templates are compiled once."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("nucleus_data.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["bytes"] = _bytes
    templates.filters["counted"] = sections.counted
    templates.filters["value"] = _value
    templates.filters["seconds"] = _seconds
    return templates


def _told(uri: str, name: str) -> str:
    """Returns the command line of a stage for the corpus."""
    return ingesting(uri) if name == "ingest" else command(name, uri)


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1000
    return f"{size:,.3g} TB"


def _value(value: object) -> str:
    """Formats a value that a rule read, cut to the length of a caption."""
    text = short(value) if isinstance(value, float) else str(value)
    if value is None or isinstance(value, bool):
        text = "no value" if value is None else text.lower()
    return text if len(text) <= 40 else text[:39] + "…"


def _seconds(seconds: float) -> str:
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.1f} s"
