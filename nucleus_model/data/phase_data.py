"""What a run trains on: the set at each resolution of its phases.

data = open_phase_data(folder, settings, None, codec, multiple=8)   # a `PhaseData` a phase
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from nucleus_data.errors import CorpusError
from nucleus_model.data.ahead import Ahead
from nucleus_model.data.batches import BatchPlan, Cursor, Gather, Share
from nucleus_model.data.chosen import Chosen, choose_samples
from nucleus_model.data.feed import Feed, LoadedBatch
from nucleus_model.data.joint import JointOrder
from nucleus_model.data.kept import Kept
from nucleus_model.data.latents import Latents
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.plans import Plans
from nucleus_model.data.samples import Sample
from nucleus_model.data.stored import StoredLatents, open_latents
from nucleus_model.encoders.codec import Codec
from nucleus_model.settings.phases import Phase
from nucleus_model.settings.settings import QuickTrainSettings

SHOWN_TARS = 8  # whose captions are looked at for what a message names
LOOKED_AT = 5000  # samples, for different captions
ENCODED_AHEAD = 2  # batches, on a GPU

EncodeText = Callable[[Sequence[str]], object]


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """This process's part of a batch, as a step takes it.

    Attributes:
        plan: The batch.
        ids: Of the B samples.
        captions: One a sample; empty where it was dropped.
        draws: What each one's noise and sigma are drawn by.
        latents_BCHW: Float32 on the CPU; B may be 0.
    """

    plan: BatchPlan
    ids: tuple[str, ...]
    captions: tuple[str, ...]
    draws: tuple[str, ...]
    latents_BCHW: torch.Tensor


@dataclass(frozen=True)
class PhaseData:
    """What a phase trains on and measures: a training set at one resolution, split.

    Attributes:
        set: The set.
        latents: Encodes its images, with a cache.
        chosen: What is trained on, and what is held out.
        settings: The run's.
        multiple: Pixels on the side of a token.
        share: This process's share of each batch.
        gather: Gathers all processes' texts.
        joint: The order of two sets that are compared.
        stored: Latents beside the set that are right for the run, if there are any.
    """

    set: TrainingSet
    latents: Latents
    chosen: Chosen
    settings: QuickTrainSettings
    multiple: int
    share: Share = field(default_factory=Share)
    gather: Gather | None = None
    joint: JointOrder | None = None
    stored: StoredLatents | None = None
    _plans: dict[str, Plans] = field(default_factory=dict)

    def trained(self, phase: Phase) -> int:
        """How many samples are trained on; of a set whose order goes by streams, in a phase."""
        return len(self.chosen.numbers) if self.set.exact else self.plans(phase).samples

    def fullest_bucket(self) -> tuple[int, int]:
        """Width and height of the bucket of the most samples; of equally full ones the wider."""
        if not self.set.exact:
            return max(self.set.buckets, key=lambda b: (b.samples, b.size)).size
        tars, _ = self.set.place(self.chosen.numbers)
        buckets = [self.set.buckets[n].size for n in self.set.bucket_of[tars].tolist()]
        counts = Counter([*buckets, *(sample.bucket for sample in self.held_out)])
        return max(counts, key=lambda bucket: (counts[bucket], bucket))

    def examples(self, count: int) -> tuple[str, ...]:
        """So many different best captions, of held-out samples first, always the same."""
        # What was not trained on shows more.
        found = dict.fromkeys(s.captions[-1] for s in self.held_out if s.captions)
        for number in (self.chosen.numbers if self.set.exact else range(self.set.count))[
            :LOOKED_AT
        ]:
            if len(found) >= count:
                break
            captions = self.set.sample(int(number)).captions
            found.update(dict.fromkeys(captions[-1:]))
        return tuple(found)[:count]

    @property
    def held_out(self) -> list[Sample]:
        """Samples to measure the held-out loss on."""
        return self.chosen.held_out

    @property
    def digest(self) -> str:
        """Hash of what is trained on: the set's tars, its order, captions and columns."""
        return self.set.digest

    def plans(self, phase: Phase) -> Plans:
        """The batches of a phase; all processes must ask for the first time together."""
        key = phase.model_dump_json()
        if key not in self._plans:
            self._plans[key] = Plans(
                self.set,
                self.chosen,
                phase,
                self.settings,
                self.multiple,
                self.share,
                self.gather,
                self.joint,
            )
        return self._plans[key]

    @contextmanager
    def feed(
        self, phase: Phase, cursor: Cursor, encode_text: EncodeText | None = None
    ) -> Iterator[Iterator[EncodedBatch]]:
        """Loads and encodes a phase's batches from a cursor on; workers end with the context.

        Args:
            phase: The phase.
            cursor: Where to begin.
            encode_text: Of a GPU: encodes captions, and remembers their states, ahead of the step.
        """
        plans, share = self.plans(phase), self.share
        most = [-(-size // share.size) for size in plans.batch_sizes]
        batches = plans.batches(cursor, share)
        with Feed(self.set, batches, phase, self.settings, most, self.stored) as feed:
            # On CPUs the step has the cores; on a GPU a thread keeps the encoders ahead of it.
            if torch.device(self.settings.device).type == "cpu":
                yield (self.encoded(loaded) for loaded in feed)
                return
            with Ahead(self._warmed(feed, encode_text), ENCODED_AHEAD) as ahead:
                yield iter(ahead)

    def _warmed(self, feed: Feed, encode_text: EncodeText | None) -> Iterator[EncodedBatch]:
        for loaded in feed:
            if encode_text is not None and loaded.captions:
                encode_text(loaded.captions)
            yield self.encoded(loaded)

    def encoded(self, loaded: LoadedBatch) -> EncodedBatch:
        """Encodes a batch's pictures."""
        codec = self.latents.codec
        # Even without a sample a process takes part in the step, and needs a tensor of the shape.
        if not loaded.ids:
            width, height = (side // codec.factor for side in loaded.plan.bucket.size)
            latents_BCHW = torch.zeros((0, codec.channels, height, width))
        else:
            latents_BCHW = self.latents.of(loaded, loaded.latents).cpu()
        return EncodedBatch(loaded.plan, loaded.ids, loaded.captions, loaded.draws, latents_BCHW)


def open_phase_data(
    folder: str,
    settings: QuickTrainSettings,
    storage_options: Mapping[str, Any] | None,
    codec: Codec,
    multiple: int,
    share: Share | None = None,
    gather: Gather | None = None,
    joint: JointOrder | None = None,
    kept: Kept | None = None,
) -> list[PhaseData]:
    """Opens the data of each phase of `settings.plan`; phases of one resolution share theirs.

    Args:
        folder: Local path or fsspec URL of the set.
        settings: The run's.
        storage_options: For fsspec.
        codec: Encodes pixels to latents.
        multiple: What sides of aspect buckets are a multiple of: codec factor times patch.
        share: This process's share of each batch; None for all of it.
        gather: Gathers all processes' texts; None for one process.
        joint: The order of two sets that are compared.
        kept: What other runs of this process have opened; None to open anew.

    Raises:
        CorpusError: The set is not as its manifest says, or a phase has nothing to train on.
        RequestError: `limit` or `sample` leaves too little of the set, or it has not the edition.
        ValueError: The set has not the resolution, or its buckets do not fit.
    """
    phases = settings.plan()
    kept = kept or Kept()
    sides = {phase.resolution for phase in phases}
    found = {}
    for side in sides:
        training_set = kept.open(
            folder,
            resolution=side,
            edition=settings.edition,
            columns=settings.columns,
            with_columns=any(phase.mixture for phase in phases),
            storage_options=storage_options,
            cache_bytes=settings.image_cache_bytes // len(sides),
            loader=settings.loader,
            exact_below=settings.exact_below,
        )
        _check_buckets(training_set, multiple)
        found[side] = PhaseData(
            training_set,
            kept.latents(training_set, codec, settings, settings.latent_cache_bytes // len(sides)),
            choose_samples(training_set, settings),
            settings,
            multiple,
            share or Share(),
            gather,
            joint,
            open_latents(
                training_set.store,
                settings,
                training_set.resolution,
                codec.channels,
                codec.factor,
                training_set.tables.reads,
            ),
        )
    # All phases before the first step: a mistake in the last one would else cost the others' hours.
    for phase in phases:
        _check_phase(found[phase.resolution], phase)
    return [found[phase.resolution] for phase in phases]


def _check_phase(data: PhaseData, phase: Phase) -> None:
    where = f"{data.set.store.uri} has {data.set.count} samples at resolution "
    where += f"{data.set.resolution}"
    if data.set.exact and not len(data.chosen.numbers):
        raise CorpusError(
            f"{where} and none of them is left to train on; import more images, or lower "
            "quick_train.holdout_share"
        )
    if not data.plans(phase).samples:
        tables = data.set.tables
        shown = range(min(SHOWN_TARS, len(tables.paths)))
        lists = [tables.caption_sources(tar)["caption_sources"].to_pylist() for tar in shown]
        sources = sorted({name for rows in lists for names in rows for name in names})
        aspects = sorted({bucket.aspect for bucket in data.set.buckets})
        mixture = "" if phase.mixture is None else f" in the mixture of {_names(phase.mixture)}"
        raise CorpusError(
            f"{where}, and none for the phase of {phase.steps} steps with the aspects "
            f"{_names(phase.aspects)} and captions {_names(phase.captions)}{mixture}; there are "
            f"the aspects {_names(aspects)} and captions {_names(sources)}"
        )


def _names(names: Any) -> str:
    return "of any kind" if names is None else ", ".join(names) or "none"


def _check_buckets(training_set: TrainingSet, multiple: int) -> None:
    for bucket in training_set.buckets:
        if bucket.width % multiple or bucket.height % multiple:
            raise ValueError(
                f"{training_set.store.uri}: the aspect bucket {bucket.width} x {bucket.height} is "
                f"no multiple of {multiple} (codec factor times patch); choose other buckets in "
                "shard, or another quick_train.codec_factor"
            )
