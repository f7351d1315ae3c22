"""Which samples a step takes, with which captions: a function of settings and ids. Free of torch.

A step's batch is a stretch of an aspect bucket's samples in the epoch's order. `Cursor` says how far
a run has come, in numbers that survive in JSON, so a run goes on exactly where it was.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nucleus_data.hashing import keyed_uint64, keyed_unit
from nucleus_model.data.loader import Sample
from nucleus_model.settings.phases import Phase, caption_weight
from nucleus_model.settings.settings import QuickTrainSettings


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next batch is.

    Attributes:
        phase: Number of the phase, from 0.
        epoch: Epochs that were begun before, in all phases.
        batch: Batches of this epoch that were taken before.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What one step takes.

    Attributes:
        cursor: Where it is in the run.
        samples: Its samples, of one aspect bucket.
        captions: One a sample; empty where it was dropped.
    """

    cursor: Cursor
    samples: tuple[Sample, ...]
    captions: tuple[str, ...]

    @property
    def after(self) -> Cursor:
        """Where the next one is, if the epoch has one."""
        return Cursor(self.cursor.phase, self.cursor.epoch, self.cursor.batch + 1)


def batch_plans(
    samples: Sequence[Sample], phase: Phase, settings: QuickTrainSettings, start: Cursor
) -> Iterator[BatchPlan]:
    """Epoch after epoch, without end, from a place on.

    Args:
        samples: Of the phase's resolution, to train on.
        phase: The phase, as `settings.plan` gives it.
        settings: The run's.
        start: Where to begin; its `phase` is passed on.
    """
    chosen = of_phase(samples, phase)
    if not chosen:
        return
    epoch, first = start.epoch, start.batch
    while True:
        plan = plan_epoch(chosen, seed=settings.seed, epoch=epoch, batch_size=phase.batch_size or 1)
        for number, batch in enumerate(plan[first:], start=first):
            captions = tuple(
                draw_caption(item, settings.seed, epoch, settings.caption_dropout, phase.captions)
                for item in batch
            )
            yield BatchPlan(Cursor(start.phase, epoch, number), tuple(batch), captions)
        epoch, first = epoch + 1, 0


def of_phase(samples: Sequence[Sample], phase: Phase) -> list[Sample]:
    """The samples of a phase's aspect buckets; if captions are weighted, those that have one."""
    return [
        sample
        for sample in samples
        if (phase.aspects is None or sample.aspect in phase.aspects)
        and (
            phase.captions is None
            or any(caption_weight(phase.captions, source) > 0 for source in sample.sources)
        )
    ]


def plan_epoch(
    samples: Sequence[Sample], *, seed: int, epoch: int, batch_size: int
) -> list[list[Sample]]:
    """Batches of one aspect bucket each; every sample once; a bucket's last batch may be smaller.

    The order follows keyed hashes of (seed, epoch, id): neither the order of `samples` nor the tars
    matter.
    """
    name = f"order:{epoch}"
    buckets: dict[tuple[int, int], list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda item: (keyed_uint64(name, seed, item.id), item.id)):
        buckets[sample.bucket].append(sample)
    batches = [
        bucket[start : start + batch_size]
        for bucket in buckets.values()
        for start in range(0, len(bucket), batch_size)
    ]
    return sorted(batches, key=lambda batch: keyed_uint64(f"batch:{epoch}", seed, batch[0].id))


def draw_caption(
    sample: Sample,
    seed: int,
    epoch: int,
    dropout: float,
    weights: Mapping[str, float] | None = None,
) -> str:
    """One of the sample's captions, by weight; with probability `dropout` the empty text.

    Args:
        sample: The sample; without captions it has the empty text.
        seed: Of the draw, with the epoch and the id.
        epoch: Likewise.
        dropout: Share of empty texts.
        weights: By source, as `caption_weight` reads them; None for all alike.
    """
    if not sample.captions or keyed_unit(f"dropout:{epoch}", seed, sample.id) < dropout:
        return ""
    unit = keyed_unit(f"caption:{epoch}", seed, sample.id)
    shares = [caption_weight(weights, source) for source in sample.sources]
    point = unit * sum(shares)
    for caption, share in zip(sample.captions, shares, strict=True):
        if point < share:
            return caption
        point -= share
    return [c for c, share in zip(sample.captions, shares, strict=True) if share > 0][-1]
