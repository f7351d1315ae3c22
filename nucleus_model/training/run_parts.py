"""Builds the parts of a run from its settings: data, encoders, model, optimizers.

The run's position is kept elsewhere (`trainer`), so that a bench or a test can build the same parts
and load any checkpoint into them.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch

from nucleus_model.data.batches import Share
from nucleus_model.data.joint import JointOrder
from nucleus_model.data.kept import Kept
from nucleus_model.data.phase_data import open_phase_data
from nucleus_model.data.stored import StoredValues, open_texts
from nucleus_model.encoders.load import load_codec, load_text_encoder
from nucleus_model.network.distributed import World, shard
from nucleus_model.network.init import build_transformer
from nucleus_model.settings.presets import PRESETS
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training.guards import Guard
from nucleus_model.training.holdout import held_out_loss
from nucleus_model.training.optimizer import build_optimizers
from nucleus_model.training.previews import Previews, draw_previews
from nucleus_model.training.step import Stepper


class RunParts:
    """The parts of a run in this process, without the run's position.

    Args:
        set_folder: Local path or fsspec URL of the training set.
        settings: The run's settings.
        storage_options: Options for fsspec.
        world: The processes of the run.
        joint: The common order of two sets that are compared; None for the set's own order.
        kept: Objects that other runs of this process have opened; None to open everything anew.

    Attributes:
        phases: The phases.
        phase_data: The data of each phase.
        parameters: Number of the model's parameters.
        stepper: Takes optimizer steps with the model, the optimizers, the text encoder and the
            guard.
    """

    def __init__(
        self,
        set_folder: str,
        settings: QuickTrainSettings,
        storage_options: Mapping[str, Any] | None,
        world: World,
        joint: JointOrder | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.settings, self.world = settings, world
        self.phases = settings.plan()
        self.preset = PRESETS[settings.preset]
        # Under torchrun, the device `cuda` is replaced by this process's own GPU.
        here = settings.model_copy(update={"device": world.device})
        self.codec = load_codec(here)
        multiple = self.codec.factor * self.preset.patch
        self.phase_data = open_phase_data(
            set_folder,
            settings,
            storage_options,
            self.codec,
            multiple,
            Share(world.rank, world.size),
            world.texts,
            joint,
            kept,
        )
        self.text = load_text_encoder(here) if kept is None else kept.text(here)
        first = self.phase_data[0].set
        self.stored_texts = open_texts(
            first.store, settings, first.edition.hash, self.text.width, first.tables.reads
        )
        if self.stored_texts is not None:
            self.text.stored = self.stored_texts.of
        # Built whole, then sharded, so that initial values do not depend on the number of
        # processes.
        self.model = build_transformer(
            self.preset,
            latent_channels=self.codec.channels,
            text_width=self.text.width,
            seed=settings.seed,
        )
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.model.gradient_checkpointing = settings.gradient_checkpointing
        self.model.to(world.device)
        shard(self.model, world)
        self.optimizers = build_optimizers(
            self.model,
            settings.optimizer,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            precision=torch.bfloat16 if settings.precision == "bf16" else torch.float32,
        )
        self.guard = Guard(settings)
        self.stepper = Stepper(self.model, self.optimizers, self.text, settings, world, self.guard)

    def begin(self, number: int) -> None:
        """Sets the capacity factors of a phase in the model."""
        factors = self.phases[number].capacity_factors
        self.model.set_capacity_factors(
            self.preset.capacity_factors if factors is None else factors
        )

    def measure(self, phase: int, step: int) -> dict[str, Any] | None:
        """Measures the held-out loss on a phase's data.

        Args:
            phase: The phase's number.
            step: The step, which is part of the line.

        Returns:
            A line for `metrics.jsonl`; None if nothing is held out.
        """
        data = self.phase_data[phase]
        with self.stepper.precision():
            measured = held_out_loss(
                self.model,
                self.text,
                data.latents,
                data.set,
                data.held_out,
                self.phases[phase].piece,
            )
        if measured is None:
            return None
        return {"step": step, "holdout_loss": measured.loss, "holdout_bins": measured.bins}

    def previews(self, phase: int) -> Previews:
        """Draws samples at a phase's resolution; all processes must call."""
        data = self.phase_data[phase]
        return draw_previews(self.model, self.text, self.codec, data, self.settings)

    def failures(self) -> list[dict[str, str]]:
        """Gathers the images that could not be decoded; all processes must call.

        Returns:
            For each phase, id -> reason, sorted.
        """
        # Each process decodes only its own share, and knows only its own failures.
        own = json.dumps([data.set.failures for data in self.phase_data])
        phases: list[dict[str, str]] = [{} for _ in self.phase_data]
        for text in self.world.texts(own):
            for phase, failures in zip(phases, json.loads(text), strict=True):
                phase.update(failures)
        return [dict(sorted(failures.items())) for failures in phases]

    def encoded(self) -> dict[str, Any]:
        """Reports on stored latents and text states that were read; all processes must call.

        Returns:
            For `latents` and for `texts`: `folders` that were read (empty if everything was encoded
            here), numbers of values `read` and `lacking`, and `faults`, file -> what is wrong.
        """
        by_set = {id(data.stored): data.stored for data in self.phase_data}
        kinds: dict[str, list[StoredValues]] = {
            "latents": [stored for stored in by_set.values() if stored is not None],
            "texts": [] if self.stored_texts is None else [self.stored_texts],
        }
        own = {name: _counts(values) for name, values in kinds.items()}
        totals: dict[str, Any] = {}
        for text in self.world.texts(json.dumps(own)):
            for name, counts in json.loads(text).items():
                kind = totals.setdefault(name, {**counts, "read": 0, "lacking": 0})
                kind["read"] += counts["read"]
                kind["lacking"] += counts["lacking"]
                kind["faults"] = dict(sorted({**kind["faults"], **counts["faults"]}.items()))
        return totals


def _counts(stored: list[StoredValues]) -> dict[str, Any]:
    """Returns folders, counts and faults of this process."""
    return {
        "folders": sorted(values.folder for values in stored),
        "read": sum(values.read for values in stored),
        "lacking": sum(values.lacking for values in stored),
        "faults": {name: why for values in stored for name, why in values.faults.items()},
    }
