"""`quick_train` as a task of a Ray cluster: it runs where the GPUs are.

The driver shows its progress.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import exceptions as gone
from tqdm import tqdm

from nucleus_data.corpus import Corpus
from nucleus_data.errors import RequestError
from nucleus_data.run import Run
from nucleus_data.runner.loop import StageReport
from nucleus_data.runner.rows import Summary
from nucleus_model.settings import QuickTrainSettings

POLL_S = 1.0
FOLDER = "quick_train"


def quick_train(run: Run) -> None:
    """Trains on the run's training set; keeps curve, checkpoint and samples under the run."""
    folder = run.training_set
    assert folder is not None
    settings = run.recipe.quick_train
    if run.dry_run:
        run.say(f"quick_train: {settings.steps} steps of {settings.batch_size} images on {folder}")
        return
    if not run.corpus.store.exists(f"{folder}/manifest.parquet"):
        raise RequestError(
            f"{folder} is not there or not complete; run: nucleus shard corpus={run.recipe.corpus}"
        )
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
        raise RequestError(f"quick_train: {type(cause).__name__}: {cause}") from error
    report = StageReport("quick_train", seconds=time.perf_counter() - start)
    report.summary = Summary(rows=summary["samples"], done=summary["samples"])
    run.keep(report, quiet=True)
    run.say(f"quick_train: {summary['text']} ({report.seconds:.1f} s)")
    run.say(f"  {run.corpus.store.url(run.path(FOLDER))}/samples.png")


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
    from nucleus_model.train import quick_train as train

    store = Corpus(uri, storage_options).store
    last = 0.0

    def progress(step: int, steps: int, metrics: Mapping[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last > POLL_S or step == steps:
            last = time.monotonic()
            state = {"step": step, "steps": steps, "loss": metrics["loss"]}
            store.put(f"{out}/progress.json", json.dumps(state).encode())

    with tempfile.TemporaryDirectory(prefix="nucleus-") as local:
        result = train(store.url(folder), Path(local), settings, storage_options, progress)
        for file in sorted(Path(local).rglob("*")):
            if file.is_file():
                store.put(f"{out}/{file.relative_to(local).as_posix()}", file.read_bytes())
    speed = f"{result['timings']['images_per_second']:.0f} images/s"
    return {"samples": result["samples"], "text": f"{result['text']}; {speed}"}
