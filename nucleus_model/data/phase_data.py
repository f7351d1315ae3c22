"""The training data of each phase of a run: the set at the phase's resolution, split and encoded.

data = open_phase_data(folder, settings, None, codec, multiple=8)   # one `PhaseData` per phase
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

SHOWN_TARS = 8  # number of tars to read caption sources from, for an error message
LOOKED_AT = 5000  # maximum number of samples to look at for distinct captions
ENCODED_AHEAD = 2  # number of batches to encode ahead on a GPU

EncodeText = Callable[[Sequence[str]], object]


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """This process's share of a batch, as a training step takes it.

    Attributes:
        plan: The batch.
        ids: Ids of the B samples.
        captions: One per sample; empty if it was dropped.
        draws: One key per sample, with which its noise and sigma are drawn.
        latents_BCHW: The latents, float32 on the CPU; B may be 0.
    """

    plan: BatchPlan
    ids: tuple[str, ...]
    captions: tuple[str, ...]
    draws: tuple[str, ...]
    latents_BCHW: torch.Tensor


@dataclass(frozen=True)
class PhaseData:
    """The data of a phase: a training set at one resolution, split into trained and held-out.

    Attributes:
        set: The set.
        latents: Encodes its images, with a cache.
        chosen: The samples to train on, and the held-out samples.
        settings: The run's settings.
        multiple: Side of an image token, in pixels.
        share: This process's share of each batch.
        gather: Gathers a text from each process.
        joint: The joint order, if two sets are compared.
        stored: Stored latents of the set that match the run's settings, if there are any.
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
        """Returns the number of samples trained on (for an order by streams, in this phase)."""
        return len(self.chosen.numbers) if self.set.exact else self.plans(phase).samples

    def fullest_bucket(self) -> tuple[int, int]:
        """Returns width and height of the bucket with most samples; the wider one of a tie."""
        if not self.set.exact:
            return max(self.set.buckets, key=lambda b: (b.samples, b.size)).size
        tars, _ = self.set.place(self.chosen.numbers)
        buckets = [self.set.buckets[n].size for n in self.set.bucket_of[tars].tolist()]
        counts = Counter([*buckets, *(sample.bucket for sample in self.held_out)])
        return max(counts, key=lambda bucket: (counts[bucket], bucket))

    def examples(self, count: int) -> tuple[str, ...]:
        """Returns up to `count` distinct captions, deterministically, held-out samples first."""
        # Held-out captions make more informative samples.
        captions_found = dict.fromkeys(s.captions[-1] for s in self.held_out if s.captions)
        for number in (self.chosen.numbers if self.set.exact else range(self.set.count))[
            :LOOKED_AT
        ]:
            if len(captions_found) >= count:
                break
            captions = self.set.sample(int(number)).captions
            captions_found.update(dict.fromkeys(captions[-1:]))
        return tuple(captions_found)[:count]

    @property
    def held_out(self) -> list[Sample]:
        """Samples to measure the held-out loss on."""
        return self.chosen.held_out

    @property
    def digest(self) -> str:
        """Hash of the training data: the set's tars and their order, captions and columns."""
        return self.set.digest

    def plans(self, phase: Phase) -> Plans:
        """Returns the batches of a phase. The first call for a phase is collective."""
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
        """Loads and encodes a phase's batches, starting at a cursor.

        Args:
            phase: The phase.
            cursor: The first batch.
            encode_text: On a GPU, called with the captions of prefetched batches, to encode and
                cache them ahead of the step.

        Yields:
            An iterator over the batches; workers end with the context.
        """
        plans, share = self.plans(phase), self.share
        most = [-(-size // share.size) for size in plans.batch_sizes]
        batches = plans.batches(cursor, share)
        with Feed(self.set, batches, phase, self.settings, most, self.stored) as feed:
            # On a GPU, a thread encodes ahead of the step; on CPUs it would only take cores from
            # it.
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
        # A process without samples still takes part in the step, with an empty tensor.
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
        settings: The run's settings.
        storage_options: Options for fsspec.
        codec: Encodes pixels to latents.
        multiple: Sides of buckets must be multiples of this: codec factor times patch, in pixels.
        share: This process's share of each batch; None for all of it.
        gather: Gathers a text from each process; None for a single process.
        joint: The joint order, if two sets are compared.
        kept: Cache of sets opened by other runs of this process; None for none.

    Raises:
        CorpusError: The set does not match its manifest, or a phase has nothing to train on.
        RequestError: `limit` or `sample` leaves too little of the set, or it lacks the edition.
        ValueError: The set lacks the resolution, or its buckets are no multiples of `multiple`.
    """
    phases = settings.plan()
    kept = kept or Kept()
    sides = {phase.resolution for phase in phases}
    by_side = {}
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
        by_side[side] = PhaseData(
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
    # Check all phases before the first step, so that a mistake in the last one does not surface
    # only after hours of training.
    for phase in phases:
        _check_phase(by_side[phase.resolution], phase)
    return [by_side[phase.resolution] for phase in phases]


def _check_phase(data: PhaseData, phase: Phase) -> None:
    where = f"{data.set.store.uri} has {data.set.count} samples at resolution "
    where += f"{data.set.resolution}"
    if data.set.exact and not len(data.chosen.numbers):
        raise CorpusError(
            f"{where}, but none of them is left to train on; ingest more images, or lower "
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
            f"{where}, but none for the phase of {phase.steps} steps with the aspects "
            f"{_names(phase.aspects)} and captions {_names(phase.captions)}{mixture}; available: "
            f"the aspects {_names(aspects)} and captions {_names(sources)}"
        )


def _names(names: Any) -> str:
    return "of any kind" if names is None else ", ".join(names) or "none"


def _check_buckets(training_set: TrainingSet, multiple: int) -> None:
    for bucket in training_set.buckets:
        if bucket.width % multiple or bucket.height % multiple:
            raise ValueError(
                f"{training_set.store.uri}: the aspect bucket {bucket.width} x {bucket.height} is "
                f"not a multiple of {multiple} (codec factor times patch); choose other buckets "
                "in shard, or another quick_train.codec_factor"
            )
