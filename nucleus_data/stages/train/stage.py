"""`quick_train` as a task of a Ray cluster: it runs where the GPUs are.

The driver shows its progress. Each checkpoint is kept in the corpus's store (`train_mirror`), so a
training that was killed, on whatever machine, goes on when the same command is given again.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray import exceptions as gone
from tqdm import tqdm

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.runner.loop import StageReport
from nucleus_data.runner.rows import Summary
from nucleus_data.runner.run import Run
from nucleus_data.stages.train.mirror import Mirror, place, steps_done
from nucleus_model.settings.choice import choose
from nucleus_model.settings.settings import QuickTrainSettings

POLL_S = 1.0
FOLDER = "quick_train"


def quick_train(run: Run, *, limit: int | None = None, sample: float = 1.0) -> None:
    """Trains on the run's training set; keeps curve, checkpoint and samples under the run.

    Args:
        run: The run; its training set is known.
        limit: Only the set's first so many samples; None for what the recipe says.
        sample: Only this share of the set's samples; 1 for what the recipe says.

    Raises:
        RequestError: There is no such set, too little of it is left, torch is missing, or the
            training failed.
    """
    folder, store = run.training_set, run.corpus.store
    assert folder is not None
    settings = run.recipe.quick_train
    if limit is not None:
        settings = settings.model_copy(update={"limit": limit})
    if sample < 1:
        settings = settings.model_copy(update={"sample": sample})
    there = store.exists(f"{folder}/manifest.parquet")
    if run.dry_run:
        said = _size(settings)
        if not there:
            run.say(f"quick_train: {said} on {folder}, which is not there yet")
            return
        for side in {phase.resolution: None for phase in settings.plan()}:
            ids = planned_ids(store, folder, side)
            train, held = _choose(folder, ids, settings)
            named = f" at {side} pixels" if settings.phases and side else ""
            run.say(
                f"quick_train: {said}; of {len(ids):,} samples{named} {len(train):,} to train on, "
                f"{len(held):,} held out ({folder})"
            )
        return
    if not there:
        raise RequestError(
            f"{folder} is not there or not complete; run: nucleus shard corpus={run.recipe.corpus}"
        )
    if (settings.limit, settings.sample) != (None, 1.0):  # told before anything starts
        for side in {phase.resolution for phase in settings.plan()}:
            _choose(folder, planned_ids(store, folder, side), settings)
    if done := steps_done(store, place(folder, settings)):
        run.say(f"quick_train: goes on after step {done} of {settings.steps}")
    start = time.perf_counter()
    remote = _train.options(max_retries=0, **run.resources("quick_train").ray_options())
    where = (run.recipe.corpus, run.recipe.storage_options)
    reference = remote.remote(*where, folder, run.path(FOLDER), settings)
    with tqdm(
        desc="quick_train", unit=" steps", total=settings.steps, delay=1, disable=None, leave=False
    ) as bar:
        while not ray.wait([reference], timeout=POLL_S)[0]:
            _show(run, bar)
    try:
        summary = ray.get(reference)
    except gone.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        if isinstance(cause, ImportError):
            raise RequestError(
                f"quick_train needs torch and diffusers ({cause}); install them: "
                "pip install 'nucleus-data[train]'"
            ) from error
        kind = "" if isinstance(cause, RequestError) else f"{type(cause).__name__}: "
        raise RequestError(f"quick_train: {kind}{cause}") from error
    report = StageReport("quick_train", seconds=time.perf_counter() - start)
    used = summary["train_samples"] + summary["holdout_samples"]
    report.summary = Summary(rows=summary["samples"], done=used)
    run.keep(report, quiet=True)
    run.say(f"quick_train: {summary['text']} ({report.seconds:.1f} s)")
    run.say(f"  {run.corpus.store.url(run.path(FOLDER))}/samples.png")


def _size(settings: QuickTrainSettings) -> str:
    if settings.phases:
        return f"{settings.steps} steps in {len(settings.phases)} phases"
    return f"{settings.steps} steps of {settings.batch_size} images"


def planned_ids(store: Store, folder: str, resolution: int | None) -> list[str]:
    """Ids of a published set's samples at a resolution (None: its smallest); reads no tar.

    Raises:
        RequestError: The set has no sample at that resolution.
    """
    plans: dict[int, list[pq.ParquetFile]] = {}
    for name in store.list(f"{folder}/_plan"):
        plan = pq.ParquetFile(pa.BufferReader(store.read(f"{folder}/_plan/{name}")))
        plans.setdefault(int(plan.schema_arrow.metadata[b"nucleus.resolution"]), []).append(plan)
    wanted = resolution if resolution is not None else min(plans, default=0)
    if wanted not in plans:
        found = ", ".join(map(str, sorted(plans))) or "none, the set is empty"
        raise RequestError(f"{folder} has no samples at resolution {wanted}; it has: {found}")
    return [i for plan in plans[wanted] for i in plan.read(["id"]).column("id").to_pylist()]


def _choose(
    folder: str, ids: list[str], settings: QuickTrainSettings
) -> tuple[list[str], list[str]]:
    try:
        return choose(ids, settings)
    except RequestError as error:
        raise RequestError(f"quick_train on {folder}: {error}") from None


def _show(run: Run, bar: Any) -> None:
    try:
        state = json.loads(run.corpus.store.read(run.path(f"{FOLDER}/progress.json")))
    except FileNotFoundError:
        return
    bar.n = state["step"]
    bar.set_postfix_str(f"loss {state['loss']:.3f}")


@ray.remote
def _train(
    uri: str,
    storage_options: Mapping[str, Any],
    folder: str,
    out: str,
    settings: QuickTrainSettings,
) -> dict[str, Any]:
    from nucleus_model.checkpoints.checkpoint import STATE, TRAINER
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
            left_out = file.name in (STATE, TRAINER) or file.name.startswith(".")
            if file.is_file() and not left_out:  # nothing is left to go on with
                name = f"{out}/{file.relative_to(local).as_posix()}"
                store.remove(name)
                store.create_file(name, file)
        mirror.clear()
    speed = f"{result['timings']['images_per_second']:.0f} images/s"
    counts = {key: result[key] for key in ("samples", "train_samples", "holdout_samples")}
    return {**counts, "text": f"{result['text']}; {speed}"}
