"""The stage `quick_train`: trains on the training set, as a task of a Ray cluster.

The driver shows its progress. Each checkpoint is copied to the corpus's store (`mirror`), so a
training that was killed on any machine continues when the same command is run again.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from tqdm import tqdm

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.runs import TRAINING
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.printed import counted
from nucleus_data.runner.cluster import wait_for
from nucleus_data.runner.pins import SET
from nucleus_data.runner.run import ALL, Run
from nucleus_data.runner.work import StageReport, Summary
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stage import CorpusStage
from nucleus_data.stages.shard.captions import weights_of
from nucleus_data.stages.shard.stage import Shard, set_of
from nucleus_data.stages.train.encoded import encoded_words
from nucleus_data.stages.train.mirror import Mirror, place, steps_done
from nucleus_model.settings.choice import choose
from nucleus_model.settings.settings import QuickTrainSettings

POLL_S = 1.0


class Train(CorpusStage[QuickTrainSettings]):
    """Trains on the selection's set; stores curve, checkpoint and samples in the run's folder.

    Args:
        settings: Settings of the training.
        shard: The stage that makes the set to train on.
    """

    name = "quick_train"
    help = "Train the bundled model on the training set, and draw samples."
    Settings = QuickTrainSettings
    faces = ("shard",)

    def __init__(self, settings: QuickTrainSettings, shard: Shard) -> None:
        super().__init__(settings)
        self.shard = shard

    def pin(self, run: Run) -> Mapping[str, str]:
        """Pins the set to train on.

        This is the set that this run made; else that of all kept records; else, if there is none,
        the set that `shard` made with the same limit and sample.
        """
        if run.pins.training_set is not None:
            return {}
        whole = self.shard.pin(run.choosing(ALL))
        if not SetFolder(run.corpus.store, whole[SET]).published:
            chosen = self.shard.pin(run)
            if SetFolder(run.corpus.store, chosen[SET]).published:
                return chosen
        return whole

    def count(self, run: Run) -> None:
        """Reports the number of steps and of samples."""
        folder = set_of(run)
        if not _is_whole(run, folder, self.settings):
            said = _size(self.settings)
            run.say(f"quick_train: {said} on {folder.path}, which does not exist yet")
            return
        settings = self._settings(run)
        said = _size(settings)
        for side in {phase.resolution: None for phase in settings.plan()}:
            ids = trained_ids(folder, side, settings.edition)
            train, held = _choose(folder, ids, settings)
            named = f" at {side} pixels" if settings.phases and side else ""
            run.say(
                f"quick_train: {said}; of {counted(len(ids), 'sample')}{named} {len(train):,} to "
                "train on, "
                f"{len(held):,} held out ({folder.path})"
            )

    def do(self, run: Run) -> None:
        """Trains.

        Raises:
            RequestError: The set does not exist, too few of its samples are left, torch is missing,
                or the training failed.
        """
        (folder, _), store = self.found(run), run.corpus.store
        settings = self._settings(run)
        if (settings.limit, settings.sample) != (None, 1.0):  # told before anything starts
            for side in {phase.resolution for phase in settings.plan()}:
                _choose(folder, trained_ids(folder, side, settings.edition), settings)
        if done := steps_done(store, place(folder.path, settings)):
            run.say(f"quick_train: continues after step {done} of {settings.steps}")
        start = time.perf_counter()
        summary = _trained(run, self, folder.path, settings)
        report = StageReport(self.name, seconds=time.perf_counter() - start)
        used = summary["train_samples"] + summary["holdout_samples"]
        report.summary = Summary(rows=summary["samples"], done=used)
        run.keep(report, quiet=True)
        run.say(f"quick_train: {summary['text']} ({report.seconds:.1f} s)")
        for line in encoded_words(summary["encoded"]):
            run.say(line)
        run.say(f"  {store.url(run.path(TRAINING))}/samples.png")

    def found(self, run: Run) -> tuple[SetFolder, str]:
        """Returns the set to train on, and the config hash of its caption edition.

        Raises:
            RequestError: The set does not exist, or it lacks the edition.
        """
        folder, named = set_of(run), self.settings.edition
        if not _is_whole(run, folder, self.settings):
            lacking = (
                "lacks the captions that shard.captions names"
                if folder.published
                else "does not exist or is incomplete"
            )
            raise RequestError(f"{folder.path} {lacking}; run: {told('shard', run.corpus.uri)}")
        return folder, str(run.pins.edition) if named is None else folder.edition(named).hash

    def _settings(self, run: Run) -> QuickTrainSettings:
        """Returns the settings, with the run's limit and sample if these choose from the set.

        A set that was made with them is used whole. Captions have the set's own names.
        """
        choice = run.choice
        settings = self._weighted(run)
        # Another edition is another training: by its hash, however it is named.
        named = settings.edition
        edition = run.pins.edition if named is None else set_of(run).edition(named).hash
        changes: dict[str, Any] = {"edition": edition}
        if choice == ALL or run.pins.training_set == self.shard.pin(run)[SET]:
            return settings.model_copy(update=changes)
        if choice.limit is not None:
            changes["limit"] = choice.limit
        if choice.sample < 1:
            changes["sample"] = choice.sample
        return settings.model_copy(update=changes)

    def _weighted(self, run: Run) -> QuickTrainSettings:
        """Returns the settings, with the weights of captions by the set's own names."""
        given = [self.settings.captions, *(phase.captions for phase in self.settings.phases)]
        if all(each is None for each in given):
            return self.settings

        def weights(given: Any) -> dict[str, float] | None:
            return weights_of(self.shard.settings, run, given)

        phases = tuple(
            phase.model_copy(update={"captions": weights(phase.captions)})
            for phase in self.settings.phases
        )
        changes = {"captions": weights(self.settings.captions), "phases": phases}
        return self.settings.model_copy(update=changes)


def _trained(run: Run, stage: Train, folder: str, settings: QuickTrainSettings) -> dict[str, Any]:
    """Runs the training on the cluster, shows its progress, and returns its summary."""
    run.connect()
    import ray
    from ray import exceptions as gone

    remote = ray.remote(train_remotely).options(
        max_retries=0, **run.resources(stage.name).ray_options()
    )
    where = (run.corpus.uri, run.corpus.store.storage_options)
    reference = remote.remote(*where, folder, run.path(TRAINING), settings)
    with tqdm(
        desc=stage.name, unit=" steps", total=settings.steps, delay=1, disable=None, leave=False
    ) as bar:
        while not wait_for([reference], POLL_S):
            _show(run, bar)
    try:
        found: dict[str, Any] = ray.get(reference)
    except gone.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        if isinstance(cause, ImportError):
            raise RequestError(
                f"quick_train needs torch and diffusers ({cause}); install them with: "
                "pip install 'nucleus-data[train]'"
            ) from error
        kind = "" if isinstance(cause, RequestError) else f"{type(cause).__name__}: "
        raise RequestError(f"quick_train: {kind}{cause}") from error
    return found


def _size(settings: QuickTrainSettings) -> str:
    if settings.phases:
        return f"{settings.steps} steps in {len(settings.phases)} phases"
    if settings.batch_tokens:
        return f"{settings.steps} steps of {settings.batch_tokens:,} image tokens"
    return f"{settings.steps} steps of {settings.batch_size} images"


def _is_whole(run: Run, folder: SetFolder, settings: QuickTrainSettings) -> bool:
    """Whether the set and the caption edition to train on exist."""
    if not folder.published or run.pins.edition is None:
        return False
    return settings.edition is not None or folder.new_edition(run.pins.edition).published


def trained_ids(folder: SetFolder, resolution: int | None, edition: str | None) -> list[str]:
    """Returns the ids of a set's samples with a caption, at a resolution (None: its smallest).

    Does not read any tar.

    Raises:
        RequestError: The set has no sample at that resolution, or lacks the edition.
    """
    tars = folder.manifest()
    sides = sorted({tar.resolution for tar in tars})
    wanted = resolution if resolution is not None else min(sides, default=0)
    if wanted not in sides:
        found = ", ".join(map(str, sides)) or "none (the set is empty)"
        raise RequestError(
            f"{folder.path} has no samples at resolution {wanted}; available: {found}"
        )
    captions = folder.edition(edition)
    ids: list[str] = []
    for tar in tars:
        if tar.resolution == wanted:
            texts = captions.captions(tar.path)
            said = pc.greater(pc.list_value_length(texts.column("captions")), 0)
            ids += texts.column("id").filter(said).to_pylist()
    return ids


def _choose(
    folder: SetFolder, ids: list[str], settings: QuickTrainSettings
) -> tuple[list[str], list[str]]:
    try:
        return choose(ids, settings)
    except RequestError as error:
        raise RequestError(f"quick_train on {folder.path}: {error}") from None


def _show(run: Run, bar: Any) -> None:
    try:
        state = json.loads(run.corpus.store.read(run.path(f"{TRAINING}/progress.json")))
    except FileNotFoundError:
        return
    bar.n = state["step"]
    bar.set_postfix_str(f"loss {state['loss']:.3f}")


def train_remotely(
    uri: str,
    storage_options: Mapping[str, Any],
    folder: str,
    out: str,
    settings: QuickTrainSettings,
) -> dict[str, Any]:
    """Trains in a temporary folder of this worker, and copies checkpoints to the corpus's store.

    Args:
        uri: URI of the corpus.
        storage_options: Options for fsspec.
        folder: Folder of the training set, below the corpus.
        out: Output folder for curve, checkpoint and samples, below the corpus.
        settings: Settings of the training.

    Returns:
        Numbers of samples, what was read of stored encodings, and a line for people.
    """
    from nucleus_model.training.train import quick_train as train

    store = Corpus(uri, storage_options).store
    last = 0.0

    def progress(step: int, steps: int, metrics: Mapping[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last > POLL_S or step == steps:
            last = time.monotonic()
            state = {"step": step, "steps": steps, "loss": metrics["loss"]}
            store.put(f"{out}/progress.json", json.dumps(state).encode())

    with tempfile.TemporaryDirectory(prefix="nucleus-") as local:
        mirror = Mirror(store, place(folder, settings), Path(local))
        mirror.fetch()
        result = train(
            store.url(folder), Path(local), settings, storage_options, progress, mirror.push
        )
        for file in sorted(Path(local).rglob("*")):
            # With the optimizer's state, so that the run can be extended there.
            if file.is_file() and not file.name.startswith("."):
                name = f"{out}/{file.relative_to(local).as_posix()}"
                store.remove(name)
                store.create_file(name, file)
        mirror.clear()
    speed = f"{result['timings']['images_per_second']:.0f} images/s"
    kept = ("samples", "train_samples", "holdout_samples", "encoded")
    counts = {key: result[key] for key in kept}
    return {**counts, "text": f"{result['text']}; {speed}"}
