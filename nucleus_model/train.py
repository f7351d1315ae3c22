"""The quick-train: a training set in, a loss curve, a checkpoint and samples out.

    summary = quick_train("corpus/sets/demo/<hash>", Path("out"), QuickTrainSettings(steps=600))

What it leaves in `out`, all of it equal to the last bit on the same machine with the same seed and
threads, but for the timings:

| file | content |
|---|---|
| `metrics.jsonl` | a line a step: step, epoch, loss, lr, grad_norm, samples; some with |
| | step, holdout_loss, holdout_bins |
| `timings.jsonl` | a line a step: step, seconds, images_per_second (of the step) |
| `checkpoints/NNNNNN/` | `model.safetensors`, `checkpoint.json` |
| `samples.png`, `samples.json` | a row a prompt, a column a seed |
| `summary.json` | what `quick_train` returns, but for its `timings` |
"""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from nucleus_data.errors import CorpusError
from nucleus_model.checkpoint import save_checkpoint
from nucleus_model.choice import choose
from nucleus_model.codec import Codec, load_codec
from nucleus_model.flow import draw_noise, draw_sigma, flow_loss, grid_of
from nucleus_model.holdout import held_out_loss
from nucleus_model.init import build_transformer
from nucleus_model.latents import Latents
from nucleus_model.loader import Batch, Sample, TrainingSet
from nucleus_model.optimizer import build_optimizers
from nucleus_model.pictures import write_grid
from nucleus_model.presets import PRESETS, Preset
from nucleus_model.sample import sample_grid
from nucleus_model.settings import QuickTrainSettings
from nucleus_model.text import TextEncoder

Progress = Callable[[int, int, Mapping[str, Any]], None]
LAST_LOSSES = 20


def quick_train(
    set_folder: str,
    out: Path,
    settings: QuickTrainSettings,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains on a training set and samples from the result; the module's text lists the files.

    Args:
        set_folder: Local path or fsspec URL of the folder that holds `manifest.parquet`.
        out: Local folder for the results; files of an earlier run in it are replaced.
        settings: How.
        storage_options: For fsspec.
        progress: Called after each step with the step, the number of steps, and the step's metrics.

    Returns:
        The summary; its key `timings` (seconds, images_per_second) is not in `summary.json`.

    Raises:
        CorpusError: The set is not as its manifest says, is empty, or none of its images can be
            decoded.
        RequestError: `limit` or `sample` leaves too little of the set.
        ValueError: The settings do not fit the set or the text encoder.
        FloatingPointError: The loss or the gradient is not finite; the last checkpoint is left as
            it was.
    """
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    with _deterministic(settings.threads):
        training_set = TrainingSet(
            set_folder,
            resolution=settings.resolution,
            storage_options=storage_options,
            cache_bytes=settings.image_cache_bytes,
        )
        trainer = _Trainer(training_set, settings)
        with (
            (out / "metrics.jsonl").open("w", encoding="utf-8") as metrics,
            (out / "timings.jsonl").open("w", encoding="utf-8") as timings,
        ):
            summary = trainer.train(metrics, timings, progress)
        checkpoint = f"checkpoints/{settings.steps:06d}"
        save_checkpoint(out / checkpoint, trainer.model, trainer.record())
        trainer.write_samples(out)
    summary |= {
        "text": describe(summary),
        "checkpoint": checkpoint,
        "grid": "samples.png",
        "failures": dict(sorted(training_set.failures.items())),
        "captions_cut": trainer.text.cut,
    }
    text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    (out / "summary.json").write_text(text, encoding="utf-8")
    seconds = time.perf_counter() - started
    return summary | {"timings": {"seconds": seconds, **trainer.speed()}}


class _Trainer:
    """The model, its optimizer and its data, put together from the settings."""

    def __init__(self, training_set: TrainingSet, settings: QuickTrainSettings) -> None:
        self.settings = settings
        self.set = training_set
        self.preset: Preset = PRESETS[settings.preset]
        self.codec: Codec = load_codec(settings)
        self.latents = Latents(self.codec, settings.latent_cache_bytes)
        _check_buckets(training_set, self.codec.factor * self.preset.patch)
        by_id = {sample.id: sample for sample in training_set.samples}
        train, held_out = choose(list(by_id), settings)
        self.train_samples: list[Sample] = [by_id[i] for i in train]
        self.held_out: list[Sample] = [by_id[i] for i in held_out]
        if not self.train_samples:
            raise CorpusError(
                f"{training_set.store.uri} has {len(training_set.samples)} samples at resolution "
                f"{training_set.resolution} and none of them is left to train on; import more "
                "images, or lower quick_train.holdout_share"
            )
        self.text = TextEncoder(settings.text, settings.device)
        self.model = build_transformer(
            self.preset,
            latent_channels=self.codec.channels,
            text_width=self.text.width,
            seed=settings.seed,
        )
        self.model.to(settings.device)
        self.optimizers = build_optimizers(
            self.model, settings.optimizer, lr=settings.lr, weight_decay=settings.weight_decay
        )
        self.seconds: list[float] = []
        self.images: list[int] = []

    def train(
        self, metrics: IO[str], timings: IO[str], progress: Progress | None
    ) -> dict[str, Any]:
        """All the steps. Returns the part of the summary that they decide."""
        settings = self.settings
        measured = {
            max(1, round(settings.steps * part / settings.holdout_times))
            for part in range(1, settings.holdout_times + 1)
        }
        losses: list[float] = []
        held_out: list[dict[str, Any]] = []
        epoch = 0
        for step, (epoch, batch) in enumerate(self._batches(), start=1):
            began = time.perf_counter()
            line = {"step": step, "epoch": epoch, **self._step(step, epoch, batch)}
            seconds = time.perf_counter() - began
            losses.append(line["loss"])
            self.seconds.append(seconds)
            self.images.append(len(batch.samples))
            _write_line(metrics, line)
            speed = len(batch.samples) / seconds
            _write_line(timings, {"step": step, "seconds": seconds, "images_per_second": speed})
            if step in measured:
                found = held_out_loss(
                    self.model,
                    self.text,
                    self.latents,
                    self.set,
                    self.held_out,
                    settings.batch_size,
                )
                if found is not None:
                    held_out.append(
                        {"step": step, "holdout_loss": found.loss, "holdout_bins": found.bins}
                    )
                    _write_line(metrics, held_out[-1])
                    line |= held_out[-1]
            if progress is not None:
                progress(step, settings.steps, line)
            if step == settings.steps:
                break
        return {
            "preset": settings.preset,
            "resolution": self.set.resolution,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "steps": settings.steps,
            "epochs": epoch + 1,
            "images": sum(self.images),
            "samples": len(self.set.samples),
            "train_samples": len(self.train_samples),
            "holdout_samples": len(self.held_out),
            "first_loss": losses[0],
            "last_loss": math.fsum(losses[-LAST_LOSSES:]) / len(losses[-LAST_LOSSES:]),
            "holdout": held_out,
        }

    def record(self) -> dict[str, Any]:
        """What the checkpoint says of its origin."""
        return {
            "step": self.settings.steps,
            "resolution": self.set.resolution,
            "settings": self.settings.model_dump(mode="json"),
            "codec": {"name": self.settings.codec, "factor": self.codec.factor},
        }

    def write_samples(self, out: Path) -> None:
        """The grid, in the set's fullest aspect bucket."""
        settings = self.settings
        prompts = settings.sample_prompts or self._captions(settings.sample_rows)
        used = [*self.train_samples, *self.held_out]
        counts = Counter(sample.bucket for sample in used)
        width, height = max(counts, key=lambda bucket: (counts[bucket], bucket))
        images = sample_grid(
            self.model,
            self.text,
            self.codec,
            prompts,
            settings.sample_seeds,
            width=width,
            height=height,
            steps=settings.sample_steps,
            guidance=settings.guidance,
        )
        facts = {"steps": settings.sample_steps, "guidance": settings.guidance}
        write_grid(out, images, prompts, settings.sample_seeds, **facts)

    def speed(self) -> dict[str, float]:
        """Images a second over all steps but the first, which warms up."""
        skip = 1 if len(self.seconds) > 1 else 0
        return {"images_per_second": sum(self.images[skip:]) / sum(self.seconds[skip:])}

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        epoch = 0
        while True:
            empty = True
            for batch in self.set.epoch(
                self.train_samples,
                seed=self.settings.seed,
                epoch=epoch,
                batch_size=self.settings.batch_size,
                caption_dropout=self.settings.caption_dropout,
            ):
                empty = False
                yield epoch, batch
            if empty:
                key, reason = next(iter(self.set.failures.items()))
                raise CorpusError(
                    f"{self.set.store.uri}: none of the {len(self.train_samples)} images can be "
                    f"decoded; the first: {key}: {reason}"
                )
            epoch += 1

    def _step(self, step: int, epoch: int, batch: Batch) -> dict[str, Any]:
        settings = self.settings
        rate = learning_rate(step, settings)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        latents_BCHW = self.latents.of(batch).to(settings.device)
        shape = tuple(latents_BCHW.shape[1:])
        keys = [f"{epoch}:{sample.id}" for sample in batch.samples]
        noise_BCHW = torch.stack([draw_noise(settings.seed, key, shape) for key in keys])
        sigmas = [
            draw_sigma(
                settings.seed,
                key,
                mu=settings.timestep_mu,
                std=settings.timestep_std,
                uniform_share=settings.timestep_uniform,
            )
            for key in keys
        ]
        grid = grid_of(latents_BCHW, self.preset.patch)
        text = self.model.encode_text(*self.text.encode(batch.captions), grid)
        loss = flow_loss(
            self.model,
            latents_BCHW,
            noise_BCHW.to(settings.device),
            torch.tensor(sigmas, device=settings.device),
            text,
        ).mean()
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        check_finite(step, loss.item(), norm.item(), [sample.id for sample in batch.samples])
        for optimizer in self.optimizers:
            optimizer.step()
        return {
            "loss": loss.item(),
            "lr": rate,
            "grad_norm": norm.item(),
            "samples": len(batch.samples),
        }

    def _captions(self, count: int) -> tuple[str, ...]:
        candidates = [*self.held_out, *self.train_samples]
        found = dict.fromkeys(item.captions[-1] for item in candidates if item.captions)
        return tuple(found)[:count] or ("",)


def describe(summary: Mapping[str, Any]) -> str:
    """One line on a run's result, without wall-clock figures."""
    held = summary["holdout"]
    held_text = f", held-out loss {held[-1]['holdout_loss']:.3f}" if held else ""
    return (
        f"{summary['steps']} steps, {summary['images']} images of {summary['train_samples']} "
        f"samples: loss {summary['first_loss']:.3f} to {summary['last_loss']:.3f}{held_text}"
    )


def learning_rate(step: int, settings: QuickTrainSettings) -> float:
    """The rate at a step (from 1): up over `warmup`, flat, down over the last `decay_share`."""
    up = step / settings.warmup if settings.warmup else 1.0
    falling = settings.steps * settings.decay_share
    down = (settings.steps - step + 1) / falling if falling else 1.0
    return settings.lr * min(1.0, up, down)


def check_finite(step: int, loss: float, grad_norm: float, ids: Sequence[str]) -> None:
    """Stops a run that diverged.

    Raises:
        FloatingPointError: The loss or the gradient's norm is not finite.
    """
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        raise FloatingPointError(
            f"quick-train diverged at step {step}: loss {loss}, gradient norm {grad_norm}. Lower "
            f"quick_train.lr, or look at the samples of this step: {', '.join(ids[:8])}"
        )


def _check_buckets(training_set: TrainingSet, multiple: int) -> None:
    for width, height in sorted({sample.bucket for sample in training_set.samples}):
        if width % multiple or height % multiple:
            raise ValueError(
                f"{training_set.store.uri}: the aspect bucket {width} x {height} is no multiple of "
                f"{multiple} (codec factor times patch); choose other buckets in shard, or another "
                "quick_train.codec_factor"
            )


def _write_line(file: IO[str], line: Mapping[str, Any]) -> None:
    file.write(json.dumps(line) + "\n")
    file.flush()


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Deterministic kernels on a number of threads; afterwards all as it was before."""
    memory: Any = torch.utils.deterministic
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        memory.fill_uninitialized_memory,
    )
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # only costs time
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[2])
        memory.fill_uninitialized_memory = before[3]
