"""The stage `encode`: precomputes the latents and text states of a training set.

    nucleus encode CORPUS encode.enabled=true

The encoders are those of `quick_train`. Latents are written to one file per tar, text states once
for each distinct text (`sets.encoded`). Both are stored under a hash of everything on which they
depend, so that a training uses the matching values and encodes the rest itself. Existing files are
kept. Each of `resources.encode.actors` loads an encoder once.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.printed import counted
from nucleus_data.runner.pins import SET
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, StageReport, Task
from nucleus_data.sets.editions import Edition
from nucleus_data.sets.encoded import (
    ENCODED,
    WORK,
    encoded_name,
    part_name,
    read_marker,
    texts_folder,
    write_marker,
)
from nucleus_data.sets.layout import SetFolder, TarEntry
from nucleus_data.stage import CorpusStage, Stage
from nucleus_data.stages.encode.latents import LatentTask
from nucleus_data.stages.encode.settings import EncodeSettings
from nucleus_data.stages.encode.texts import (
    TARS_A_GROUP,
    TEXTS_A_PART,
    GatherTask,
    StatesTask,
    Texts,
)
from nucleus_data.stages.shard.stage import set_of
from nucleus_model.settings.encoded import latents_identity, texts_identity
from nucleus_model.settings.settings import QuickTrainSettings


class Encode(CorpusStage[EncodeSettings]):
    """Encodes a set's pictures and captions.

    Args:
        settings: What to encode.
        train: The training stage, whose encoders and set are used.
    """

    name = "encode"
    help = "Precompute latents and text states of the training set."
    Settings = EncodeSettings
    faces = ("quick_train",)
    resources: ClassVar = {"actors": 1}
    optional = True

    def __init__(self, settings: EncodeSettings, train: Stage[Any]) -> None:
        super().__init__(settings)
        self.train: Any = train

    @property
    def training(self) -> QuickTrainSettings:
        """The settings of the training stage."""
        settings: QuickTrainSettings = self.train.settings
        return settings

    def missing(self) -> str | None:
        """Returns a message if the stage is not enabled."""
        if not self.settings.enabled:
            return "encode.enabled is false, so nothing is encoded ahead; set encode.enabled=true"
        return None

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Yields the folder of encoded values, once the set is pinned."""
        if SET in tables:
            yield f"{tables[SET]}/{ENCODED}"

    def pin(self, run: Run) -> Mapping[str, str]:
        """Pins the set of the training stage."""
        pins: Mapping[str, str] = self.train.pin(run)
        return pins

    def count(self, run: Run) -> None:
        """Reports how many pictures and texts there are to encode."""
        folder = set_of(run)
        if not folder.published:
            run.say(f"encode: {folder.path} does not exist yet")
            return
        if self.settings.latents:
            tars, todo = self._tars(folder)
            samples = sum(entry.samples for _, entry in tars)
            left = sum(entry.samples for _, entry in todo)
            sides = ", ".join(map(str, self._hashes(folder)))
            run.say(
                f"encode: latents of {counted(samples, 'sample')} at {sides} pixels in "
                f"{counted(len(tars), 'tar')}; "
                f"{left:,} in {counted(len(todo), 'tar')} to do ({folder.path})"
            )
        if self.settings.texts:
            edition = self._edition(run, folder)
            _, todo_parts = self._texts(run, folder, edition)
            run.say(
                f"encode: text states of up to {counted(edition.count, 'caption')} (edition "
                f"{edition.hash}); {counted(len(todo_parts), 'part')} to do"
            )

    def do(self, run: Run) -> None:
        """Encodes everything that has no file yet.

        Raises:
            RequestError: The set, edition or resolution does not exist, or an encoder is missing.
        """
        folder = set_of(run)
        if not folder.published:
            raise RequestError(
                f"{folder.path} does not exist or is incomplete; "
                f"run: {told('shard', run.corpus.uri)}"
            )
        report, start = StageReport(self.name), time.perf_counter()
        # Deep, as each encoder has a folder with one folder per bucket.
        folder.store.sweep(folder.name(ENCODED), deep=True)
        if self.settings.latents:
            self._encode_latents(run, folder, report)
        if self.settings.texts and not report.failed:
            self._encode_texts(run, folder, report)
        report.seconds = time.perf_counter() - start
        run.keep(report)

    def _encode_latents(self, run: Run, folder: SetFolder, report: StageReport) -> None:
        hashes = self._hashes(folder)
        tars, todo = self._tars(folder)
        before = sum(entry.samples for _, entry in tars) - sum(e.samples for _, e in todo)
        report.summary.rows += before
        report.summary.already += before
        task = LatentTask(*_place(run, folder), hashes, self.training, self.settings.dtype)
        if not self._phase(run, "latents", task, [number for number, _ in todo], report):
            return
        for side, hashed in hashes.items():
            write_marker(folder.store, folder.name(f"{ENCODED}/{hashed}"), self._latents(side))
            run.say(f"  latents at {side} pixels: {folder.url(f'{ENCODED}/{hashed}')}")

    def _encode_texts(self, run: Run, folder: SetFolder, report: StageReport) -> None:
        edition = self._edition(run, folder)
        texts, todo = self._texts(run, folder, edition)
        where = texts.name("").rstrip("/")
        if todo:
            groups = list(range(texts.groups))
            states = StatesTask(texts, self.training, self.settings.dtype)
            if not (
                self._phase(run, "texts: gather", GatherTask(texts), groups, report)
                and self._phase(run, "texts: states", states, todo, report)
            ):
                return
        identity = self._identity(edition)
        write_marker(folder.store, where, {**identity, "parts": texts.parts})
        folder.store.remove_folder(texts.name(WORK))
        run.say(f"  text states: {folder.store.url(where)}")

    def _phase(
        self, run: Run, phase: str, task: Task, numbers: list[int], report: StageReport
    ) -> bool:
        """Runs a task's items, and adds to the report; returns whether none failed."""
        items = [Item(number) for number in numbers]
        done = run.loop(self, task, items, len(items), phase=phase, keep=False)
        report.summary.add(done.summary)
        report.shards += done.shards
        report.deaths += done.deaths
        report.failed += done.failed
        return not done.failed

    def _latents(self, side: int) -> dict[str, Any]:
        return latents_identity(self.training, side, self.settings.dtype)

    def _identity(self, edition: Edition) -> dict[str, Any]:
        return texts_identity(self.training, edition.hash, self.settings.dtype)

    def _hashes(self, folder: SetFolder) -> dict[int, str]:
        """Returns resolution -> config hash of the latents, for resolutions of the training."""
        sides = {entry.resolution for entry in folder.manifest()}
        wanted = {
            min(sides, default=0) if phase.resolution is None else phase.resolution
            for phase in self.training.plan()
        }
        if lacking := sorted(wanted - sides):
            found = ", ".join(map(str, sorted(sides))) or "none (the set is empty)"
            raise RequestError(
                f"{folder.path} has no samples at resolution {lacking[0]}; available: {found}"
            )
        return {side: config_hash(self._latents(side)) for side in sorted(wanted)}

    def _tars(
        self, folder: SetFolder
    ) -> tuple[list[tuple[int, TarEntry]], list[tuple[int, TarEntry]]]:
        """Returns the numbered tars whose pictures are encoded; and those still without latents."""
        hashes, store = self._hashes(folder), folder.store
        numbered = enumerate(folder.manifest())
        tars = [(n, entry) for n, entry in numbered if entry.resolution in hashes]
        existing = set()
        for hashed in hashes.values():
            existing |= set(store.find(folder.name(f"{ENCODED}/{hashed}")))

        def name(entry: TarEntry) -> str:
            return folder.name(encoded_name(hashes[entry.resolution], entry.path))

        return tars, [(n, entry) for n, entry in tars if name(entry) not in existing]

    def _edition(self, run: Run, folder: SetFolder) -> Edition:
        """Returns the edition of the training; RequestError if it does not exist."""
        named = self.training.edition
        if named is not None or run.pins.edition is None:
            return folder.edition(named)
        return folder.edition(run.pins.edition)

    def _texts(self, run: Run, folder: SetFolder, edition: Edition) -> tuple[Texts, list[int]]:
        """Returns the texts of an edition, and the parts whose states have to be computed."""
        hashed = config_hash(self._identity(edition))
        place = folder.name(texts_folder(hashed))
        about = read_marker(folder.store, place) or {}
        parts = about.get("parts") or max(1, -(-edition.count // TEXTS_A_PART))
        groups = -(-len(folder.manifest()) // TARS_A_GROUP)
        texts = Texts(*_place(run, folder), edition.hash, hashed, parts, groups)
        existing = set(folder.store.list(place))
        return texts, [n for n in range(parts) if part_name(n) not in existing]


def _place(run: Run, folder: SetFolder) -> tuple[str, Mapping[str, Any], str]:
    return run.corpus.uri, run.corpus.store.storage_options, folder.path
