"""Which samples a step takes, with which captions: a function of settings and ids. Free of torch.

A step's batch is a stretch of an aspect bucket's samples in the epoch's order. A `Cursor` says how
far a run has come, in numbers that survive in JSON, so a run goes on exactly where it was.

    for plan in batch_plans(samples, phase, settings, Cursor()):
        ...   # plan.samples, plan.captions; plan.after is where to go on from
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
    """The position of a batch in a run.

    Attributes:
        phase: Number of the phase, from 0.
        epoch: How many epochs were begun before this one, in all phases.
        batch: How many batches of this epoch come before this one.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The samples and captions that one step takes, not yet decoded.

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
        """The position of the epoch's next batch, if it has one."""
        return Cursor(self.cursor.phase, self.cursor.epoch, self.cursor.batch + 1)


def batch_plans(
    samples: Sequence[Sample], phase: Phase, settings: QuickTrainSettings, start: Cursor
) -> Iterator[BatchPlan]:
    """Plans the batches of epoch after epoch, without end.

    Args:
        samples: Of the phase's resolution, to train on.
        phase: The phase, as `settings.plan` gives it.
        settings: The run's.
        start: Where to begin; its `phase` is passed on.

    Yields:
        One plan a step; none at all if the phase has no sample.
    """
    chosen = of_phase(samples, phase)
    if not chosen:
        return
    # An epoch is planned anew from its keys and cut, not remembered: a run that goes on needs no
    # state but the cursor.
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
    """Returns the samples of a phase's aspect buckets, in order.

    If the phase weighs captions, samples without any caption of a weight above 0 are left out.
    """
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
    """Cuts an epoch into batches of one aspect bucket each, every sample once.

    A bucket's last batch may be smaller.

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
    # Batches are mixed too, so that buckets do not come one after the other.
    return sorted(batches, key=lambda batch: keyed_uint64(f"batch:{epoch}", seed, batch[0].id))


def draw_caption(
    sample: Sample,
    seed: int,
    epoch: int,
    dropout: float,
    weights: Mapping[str, float] | None = None,
) -> str:
    """Draws one of the sample's captions, by weight, or the empty text.

    Args:
        sample: The sample; without captions it has the empty text.
        seed: Of the run; the draw is keyed by it, the epoch and the sample's id.
        epoch: The epoch, from 0.
        dropout: Share of empty texts, 0 to 1.
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
    # Rounding may leave a rest above the last share.
    return [c for c, share in zip(sample.captions, shares, strict=True) if share > 0][-1]
