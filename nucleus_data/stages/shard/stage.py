"""The stage `shard`: writes the training set of a selection, with captions and index columns.

The set is planned from metadata (`plan`), written by one task per output tar (`write`), and
published by its manifest (`sets.layout`). Captions and scores are files beside the tars (`edition`,
`columns`), so new ones do not touch the tars.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from nucleus_data.config import deciding
from nucleus_data.corpus.caption_sets import labels
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.hashing import sample_sql
from nucleus_data.printed import counted
from nucleus_data.runner.pins import COLUMNS, EDITION, SET
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, StageReport, Summary, Task
from nucleus_data.sets.columns import COLUMNS as INDEX_COLUMNS
from nucleus_data.sets.editions import CAPTIONS
from nucleus_data.sets.layout import MANIFEST, ROOT, SetFolder
from nucleus_data.sets.planned import NOTES, PLANS
from nucleus_data.sets.set_card import is_told
from nucleus_data.stage import CorpusStage
from nucleus_data.stages.select.settings import SelectSettings
from nucleus_data.stages.select.stage import TABLE as SELECTION
from nucleus_data.stages.select.stage import Select, published_selection
from nucleus_data.stages.shard import aligned
from nucleus_data.stages.shard.aligned import WORK, Alignment, Values
from nucleus_data.stages.shard.captions import sets_of
from nucleus_data.stages.shard.card import write_facts
from nucleus_data.stages.shard.chosen import MEASURED
from nucleus_data.stages.shard.columns import Placement, scores_of
from nucleus_data.stages.shard.columns import about as about_columns
from nucleus_data.stages.shard.edition import Composition
from nucleus_data.stages.shard.edition import about as about_edition
from nucleus_data.stages.shard.identity import columns_hash, edition_hash, preserved
from nucleus_data.stages.shard.plan import PHASES, Planning, left_out_words, pieces_of
from nucleus_data.stages.shard.publish import PublishTask
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.stages.shard.write import TarTask

VERSION = 2
WORKING = (NOTES, PLANS, *(f"{PLANS}/{name}" for name in ("kept", "counts", "placed", "out")))
# Settings outside of the set's hash: captions are hashed by the edition, and the name is part of
# the set's path anyway.
NOT_OF_THE_SET = ("name", "captions")


class Shard(CorpusStage[ShardSettings]):
    """Writes the kept images as training shards, and captions and scores beside them.

    Args:
        settings: How the set is made.
        select: The stage that makes the selection.
        caption: The stage whose setting `preserve` says which upstream captions are used.
    """

    name = "shard"
    help = "Write kept images and captions as training shards."
    Settings = ShardSettings
    faces = ("select", "caption")

    def __init__(self, settings: ShardSettings, select: Select, caption: Any) -> None:
        super().__init__(settings)
        self.select = select
        self.caption = caption

    @property
    def _preserve(self) -> str | None:
        """The condition `caption.preserve`, as written in the recipe."""
        text: str | None = self.caption.settings.preserve
        return text

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Yields the folders of the set, its captions and its columns, if they are pinned."""
        if SET not in tables:
            return
        roots = [tables[SET]]
        beside = {CAPTIONS: tables.get(EDITION), INDEX_COLUMNS: tables.get(COLUMNS)}
        roots += [f"{tables[SET]}/{kind}/{hashed}" for kind, hashed in beside.items() if hashed]
        yield from (f"{tables[SET]}/{folder}" for folder in WORKING)
        for root in roots:
            yield root
            yield from (f"{root}/{WORK}/{phase}" for phase in aligned.PHASES)
            for resolution in self.settings.resolutions:
                for aspect in self.settings.aspect_names():
                    yield f"{root}/{resolution}/{aspect}"

    def pin(self, run: Run) -> Mapping[str, str]:
        """Finds the selection, and pins the training set, its edition and its index columns.

        Raises:
            RequestError: There is no selection for the current tables and rules, a caption set
                does not exist, or there are caps without curriculum buckets.
        """
        check_caps(self.settings, self.select.settings)
        pins = self.select.found(run)
        sets = sets_of(self.settings, run)
        tables = {**run.tables, **pins}
        inputs = {name: tables[name] for name in (SELECTION, MEASURED)}
        settings = deciding(self.settings, without=NOT_OF_THE_SET)
        settings["aspects"] = list(self.settings.aspect_names())
        hashed = run.identify(inputs, inputs, version=VERSION, settings=settings)
        pinned = {one.pin: one.config_hash for one in sets if one.config_hash}
        return {
            **pins,
            **pinned,
            SET: f"{ROOT}/{self.settings.name}/{hashed}",
            EDITION: edition_hash(run, sets, self._preserve),
            COLUMNS: columns_hash(run, tables),
        }

    def count(self, run: Run) -> None:
        """Says how many records are kept."""
        self._check_measured(run)
        kept = run.tables[SELECTION]
        made = published_selection(run.corpus.store, kept)
        total = int((made or {}).get("states", {}).get("kept", 0))
        if run.choice.sample < 1 and total:
            rows = run.corpus.connection().sql(
                f"SELECT count(*) FROM {run.corpus.at(SELECTION, kept).sql()} "
                f"WHERE state = 'kept' AND {sample_sql(run.choice.sample)}"
            )
            total = int(rows.fetchall()[0][0])
        if run.choice.limit is not None:
            total = min(total, run.choice.limit)
        sides = ", ".join(map(str, self.settings.resolutions))
        run.say(f"shard: {total:,} kept records, at {sides} pixels where they are large enough")

    def do(self, run: Run) -> None:
        """Plans and writes whatever is missing of the set, its edition and its columns."""
        folder = set_of(run)
        if folder.published:
            run.say(f"shard: the tars already exist: {folder.url()}")
            samples = sum(entry.samples for entry in folder.manifest())
            report = StageReport(self.name, summary=Summary(rows=samples, already=samples))
            run.keep(report, quiet=True)
        elif not self._write_tars(run, folder):
            return
        for work in (PLANS, NOTES):  # also those left behind by a killed run
            run.corpus.store.remove_folder(folder.name(work))
        self._write_edition(run, folder)
        self._write_columns(run, folder)
        self._write_card(run, folder)
        run.say(f"  {folder.url(MANIFEST)}")

    def _write_tars(self, run: Run, folder: SetFolder) -> bool:
        """Plans and writes the tars; returns whether all were written."""
        totals = self._planned(run)
        if totals is None:
            return False
        tars = totals["tars"]
        task = TarTask(*self._place(run, folder), self.settings, self._threads(run))
        report = run.loop(self, task, (Item(n) for n in range(tars)), tars)
        if report.failed:
            return False
        publishing = PublishTask(*self._place(run, folder), tars, self.settings)
        published = self._phase(run, "publish", publishing, 1)
        if published is None:
            return False
        counts = published.summary.extra
        samples = counts.pop("samples")
        run.say(
            f"  {counted(samples, 'sample')} in {tars:,} training shards of "
            f"{counted(totals['kept'], 'record')}"
        )
        for line in left_out_words(counts):
            run.say(line)
        about = folder.about()
        if about["psnr"] is not None:
            lost = f"PSNR {about['psnr']:g} dB where it was measured"
            run.say(f"  pictures: {about['format']} of quality {about['quality']}, {lost}")
        return True

    def _planned(self, run: Run) -> Counter[str] | None:
        """Plans all tars; returns the totals, or None if a task failed."""
        self._check_measured(run)
        choice = run.choice
        planning = Planning(
            *self._place(run, set_of(run)),
            run.tables,
            self.settings,
            self._pieces(run),
            choice.limit,
            choice.sample,
        )
        totals: Counter[str] = Counter()
        for phase in PHASES:
            one = planning.at(phase)
            report = self._phase(run, f"plan: {phase}", one, one.items(totals["tars"]))
            if report is None:
                return None
            totals.update(report.summary.extra)
        return totals

    def _write_edition(self, run: Run, folder: SetFolder) -> None:
        """Writes and publishes the caption edition, unless it exists."""
        assert run.pins.edition is not None
        edition = folder.new_edition(run.pins.edition)
        if edition.published:
            run.say(f"  captions: the edition {edition.hash} already exists")
            return
        sets = sets_of(self.settings, run)
        composition = Composition(tuple(sets), run.tables, preserved(run, sets, self._preserve))
        counts = self._aligned(run, folder, f"{CAPTIONS}/{edition.hash}", composition)
        if counts is None:
            return
        made = about_edition(", ".join(labels(sets)), sets, counts)
        edition.publish(made)
        run.corpus.store.remove_folder(f"{edition.path}/{WORK}")
        run.say(
            f"  captions: {made['captions']:,} for {counted(made['samples'], 'sample')}, "
            f"{made['without']:,} of them without one (edition {edition.hash})"
        )

    def _write_columns(self, run: Run, folder: SetFolder) -> None:
        """Writes and publishes the index columns, unless they exist."""
        assert run.pins.columns is not None
        columns = folder.new_columns(run.pins.columns)
        if columns.published:
            return
        scores = scores_of(run.corpus, run.pins, run.tables)
        values = Placement(run.tables, scores)
        if self._aligned(run, folder, f"{INDEX_COLUMNS}/{columns.hash}", values) is not None:
            columns.publish(about_columns(run.tables, scores))
            run.corpus.store.remove_folder(f"{columns.path}/{WORK}")

    def _write_card(self, run: Run, folder: SetFolder) -> None:
        """Writes the set's card, unless it already covers the edition."""
        edition = folder.new_edition(str(run.pins.edition))
        if edition.published and not is_told(folder, edition.hash):
            sets = sets_of(self.settings, run)
            write_facts(run, folder, self.settings, self.select.settings, sets)

    def _aligned(
        self, run: Run, folder: SetFolder, beside: str, values: Values
    ) -> Counter[str] | None:
        """Writes files beside all tars; returns their counts, or None if a task failed."""
        tars = folder.manifest_table().num_rows
        place = self._place(run, folder)
        whole = Alignment(*place, beside, values, self._pieces(run), tars)
        counts: Counter[str] = Counter()
        for phase in aligned.PHASES:
            one = whole.at(phase)
            report = self._phase(run, f"{beside.partition('/')[0]}: {phase}", one, one.items)
            if report is None:
                return None
            counts.update(report.summary.extra)
        return counts

    def _phase(self, run: Run, phase: str, task: Task, items: int) -> StageReport | None:
        """Processes a task's items; returns None if any of them failed."""
        report = run.loop(
            self, task, (Item(n) for n in range(items)), items, phase=phase, keep=False
        )
        if report.failed:
            run.keep(report)
            return None
        return report

    def _pieces(self, run: Run) -> tuple[tuple[int, ...], ...]:
        return pieces_of(run.corpus.at(SELECTION, run.tables[SELECTION]).shards())

    def _place(self, run: Run, folder: SetFolder) -> tuple[str, Mapping[str, Any], str]:
        return run.corpus.uri, run.corpus.store.storage_options, folder.path

    def _threads(self, run: Run) -> int:
        return max(1, int(run.resources(self.name).num_cpus))

    def _check_measured(self, run: Run) -> None:
        if not run.corpus.at(MEASURED, run.tables[MEASURED]).part_names():
            raise RequestError(
                f"{run.corpus.uri} has not been measured yet; "
                f"run: {told('inspect', run.corpus.uri)}"
            )


def set_of(run: Run) -> SetFolder:
    """Returns the training set that a run has pinned."""
    assert run.pins.training_set is not None, "shard.pin comes first"
    return SetFolder(run.corpus.store, run.pins.training_set)


def check_caps(settings: ShardSettings, select: SelectSettings) -> None:
    """Refuses caps if there are no curriculum buckets. Raises RequestError."""
    if settings.caps is not None and select.curriculum is None:
        raise RequestError(
            "shard.caps needs curriculum buckets, but there are none: set select.curriculum, or "
            "shard.caps=null"
        )
