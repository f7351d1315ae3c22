"""What a run trains on: the set at each resolution of its phases.

phase_data = open_phase_data(folder, settings, None, codec, multiple=8)   # one a phase
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nucleus_data.errors import CorpusError
from nucleus_data.hashing import config_hash
from nucleus_model.data.feed import BatchPlan, of_phase
from nucleus_model.data.latents import Latents
from nucleus_model.data.loader import Sample, TrainingSet
from nucleus_model.encoders.codec import Codec
from nucleus_model.settings.choice import choose
from nucleus_model.settings.phases import Phase
from nucleus_model.settings.settings import QuickTrainSettings


@dataclass(frozen=True)
class PhaseData:
    """What a phase trains on and measures: a training set at one resolution, split.

    Attributes:
        set: The set.
        latents: Encodes its images, with a cache.
        train: Samples to train on, in order of id.
        held_out: Samples to measure the held-out loss on.
    """

    set: TrainingSet
    latents: Latents
    train: list[Sample]
    held_out: list[Sample]

    def digest(self) -> str:
        """Hashes the samples that are trained on: ids, places in the tars and captions."""
        return config_hash([[s.id, s.tar, s.offset, s.size, s.captions] for s in self.train])

    def load(
        self, plan: BatchPlan, part: Sequence[int], factor: int
    ) -> tuple[torch.Tensor, list[str], list[str]]:
        """Loads some of a plan's samples; those that can't be decoded are left out.

        Args:
            plan: The batch's plan.
            part: Which of its samples, by number.
            factor: Pixels on the side of a latent pixel, for the shape where there are none.

        Returns:
            Latents (B, C, H, W), float32 on the CPU, ids and captions; B may be 0.
        """
        batch = self.set.batch([plan.samples[i] for i in part], [plan.captions[i] for i in part])
        # Even without a sample a process takes part in the step, and needs a tensor of the shape.
        if batch is None:
            width, height = plan.samples[0].bucket
            shape = (0, self.latents.codec.channels, height // factor, width // factor)
            return torch.zeros(shape), [], []
        ids = [sample.id for sample in batch.samples]
        return self.latents.of(batch).cpu(), ids, list(batch.captions)


def open_phase_data(
    folder: str,
    settings: QuickTrainSettings,
    storage_options: Mapping[str, Any] | None,
    codec: Codec,
    multiple: int,
) -> list[PhaseData]:
    """Opens the data of each phase of `settings.plan`; phases of one resolution share theirs.

    Args:
        folder: Local path or fsspec URL of the set.
        settings: The run's.
        storage_options: For fsspec.
        codec: Encodes pixels to latents.
        multiple: What sides of aspect buckets are a multiple of: codec factor times patch.

    Raises:
        CorpusError: The set is not as its manifest says, or a phase has nothing to train on.
        RequestError: `limit` or `sample` leaves too little of the set.
        ValueError: The set has not the resolution, or its buckets do not fit.
    """
    phases = settings.plan()
    sides = {phase.resolution for phase in phases}
    found = {}
    for side in sides:
        training_set = TrainingSet(
            folder,
            resolution=side,
            edition=settings.edition,
            storage_options=storage_options,
            cache_bytes=settings.image_cache_bytes // len(sides),
        )
        _check_buckets(training_set, multiple)
        by_id = {sample.id: sample for sample in training_set.samples}
        train, held_out = choose(list(by_id), settings)
        latents = Latents(codec, settings.latent_cache_bytes // len(sides))
        found[side] = PhaseData(
            training_set, latents, [by_id[i] for i in train], [by_id[i] for i in held_out]
        )
    # All phases before the first step: a mistake in the last one would else cost the others' hours.
    for phase in phases:
        _check_phase(found[phase.resolution], phase)
    return [found[phase.resolution] for phase in phases]


def _check_phase(data: PhaseData, phase: Phase) -> None:
    where = f"{data.set.store.uri} has {len(data.set.samples)} samples at resolution "
    where += f"{data.set.resolution}"
    if not data.train:
        raise CorpusError(
            f"{where} and none of them is left to train on; import more images, or lower "
            "quick_train.holdout_share"
        )
    aspects = sorted({sample.aspect for sample in data.train})
    sources = sorted({name for sample in data.train for name in sample.sources})
    if not of_phase(data.train, phase):
        raise CorpusError(
            f"{where}, and none for the phase of {phase.steps} steps with the aspects "
            f"{_names(phase.aspects)} and captions {_names(phase.captions)}; there are the aspects "
            f"{_names(aspects)} and captions {_names(sources)}"
        )


def _names(names: Any) -> str:
    return "of any kind" if names is None else ", ".join(names) or "none"


def _check_buckets(training_set: TrainingSet, multiple: int) -> None:
    for width, height in sorted({sample.bucket for sample in training_set.samples}):
        if width % multiple or height % multiple:
            raise ValueError(
                f"{training_set.store.uri}: the aspect bucket {width} x {height} is no multiple of "
                f"{multiple} (codec factor times patch); choose other buckets in shard, or another "
                "quick_train.codec_factor"
            )
