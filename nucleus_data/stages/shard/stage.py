"""The stage `shard`: makes the training set of the selection.

It is planned on metadata (`plan`), written by one task an output tar (`write`), and published by
its manifest (`sets.layout`).
"""

from collections.abc import Iterator, Mapping

from nucleus_data.config import deciding
from nucleus_data.corpus.caption_sets import PREFIX, labels
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.runner.pins import SET
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item
from nucleus_data.sets.layout import MANIFEST, NOTES, PLANS, ROOT, SetFolder
from nucleus_data.stage import CorpusStage
from nucleus_data.stages.select.settings import SelectSettings
from nucleus_data.stages.select.stage import TABLE as SELECTION
from nucleus_data.stages.select.stage import Select
from nucleus_data.stages.shard.captions import sets_of
from nucleus_data.stages.shard.plan import left_out, left_out_words, plan_query, plan_tars
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.stages.shard.write import TarTask, publish_set

VERSION = 1
MEASURED = "inspect.file"


class Shard(CorpusStage[ShardSettings]):
    """Writes the kept, captioned images as training shards.

    Args:
        settings: What the set holds.
        select: The stage whose selection is taken.
    """

    name = "shard"
    help = "Write the kept, captioned images as training shards."
    Settings = ShardSettings
    faces = ("select",)

    def __init__(self, settings: ShardSettings, select: Select) -> None:
        super().__init__(settings)
        self.select = select

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """The set's folders, once it has a name."""
        if SET in tables:
            yield f"{tables[SET]}/{PLANS}"
            yield f"{tables[SET]}/{NOTES}"
            for resolution in self.settings.resolutions:
                for aspect in self.settings.aspects:
                    yield f"{tables[SET]}/{resolution}/{aspect}"

    def pin(self, run: Run) -> Mapping[str, str]:
        """Finds the selection, and names the training set that it and the captions make.

        Raises:
            RequestError: There is no selection of the tables and rules as they are now, or a
                caption is no variant, or there are caps without curriculum buckets.
        """
        check_caps(self.settings, self.select.settings)
        pins = self.select.found(run)
        sets = sets_of(self.settings, run)
        tables = {**run.tables, **pins}
        inputs = {name: tables[name] for name in (SELECTION, MEASURED)}
        called = labels(sets)
        # By the tables that are meant, however the configuration calls them.
        made = {f"{PREFIX}{n}": s.config_hash for n, s in zip(called, sets, strict=True)}
        inputs |= {name: hashed for name, hashed in made.items() if hashed}
        settings = {**deciding(self.settings), "captions": called}
        hashed = run.identify(inputs, inputs, version=VERSION, settings=settings)
        pinned = {one.pin: one.config_hash for one in sets if one.config_hash}
        return {**pins, **pinned, SET: f"{ROOT}/{self.settings.name}/{hashed}"}

    def count(self, run: Run) -> None:
        """Says how many records are kept, and how many of them have no caption."""
        rows = run.corpus.connection().sql(
            f"SELECT count(*), count(*) FILTER (len(captions) = 0), count(reason) "
            f"FROM ({self._query(run)})"
        )
        total, without, out = rows.fetchall()[0]
        capped = f", {out - without:,} over the caps of their buckets" if out > without else ""
        run.say(f"shard: {total:,} kept records, {without:,} of them without a caption{capped}")

    def do(self, run: Run) -> None:
        """Plans and writes the set, unless it is there."""
        folder = set_of(run)
        if folder.published:
            run.say(f"shard: the set is there already: {folder.url()}")
            return
        query, tars = self._query(run), 0
        for tar in plan_tars(run.corpus, query, self.settings):
            folder.write_plan(tar)
            tars += 1
        without = left_out(run.corpus, query)
        folder.write_left_out(without)
        task = TarTask(run.corpus.uri, run.corpus.store.storage_options, folder.path)
        report = run.loop(self, task, (Item(n) for n in range(tars)), tars)
        if report.failed:
            return
        samples = sum(publish_set(folder, tars).column("samples").to_pylist())
        run.say(f"  {samples:,} samples in {tars} training shards; {left_out_words(without)}")
        run.say(f"  {folder.url(MANIFEST)}")

    def _query(self, run: Run) -> str:
        choice = run.choice
        if not run.corpus.at(MEASURED, run.tables[MEASURED]).part_names():
            raise RequestError(
                f"nothing of {run.corpus.uri} is measured yet; "
                f"run: {told('inspect', run.corpus.uri)}"
            )
        return plan_query(
            run.corpus,
            run.tables,
            self.settings,
            sets_of(self.settings, run),
            placed=self.select.settings.curriculum is not None,
            limit=choice.limit,
            sample=choice.sample,
        )


def set_of(run: Run) -> SetFolder:
    """The training set that a run has pinned."""
    assert run.pins.training_set is not None, "shard.pin comes first"
    return SetFolder(run.corpus.store, run.pins.training_set)


def check_caps(settings: ShardSettings, select: SelectSettings) -> None:
    """Refuses caps where no record has a curriculum bucket. Raises RequestError."""
    if settings.caps is not None and select.curriculum is None:
        raise RequestError(
            "shard.caps are of curriculum buckets, and there are none: set select.curriculum, or "
            "shard.caps=null"
        )
