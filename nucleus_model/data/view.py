"""Decides which samples a phase trains on, and how often each occurs in an epoch.

Left out are held-out samples, those outside of `quick_train.sample`, those without a caption with a
weight above 0, and those with values that a mixture does not name. A mixture's fractional weights
are drawn in each epoch, by id: with 0.5, an epoch has half of the samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleus_data.hashing import sample_unit
from nucleus_model.data.captions import has_source
from nucleus_model.data.draws import Numbers, as_hex, keyed_units
from nucleus_model.data.tables import Tables
from nucleus_model.settings.choice import HOLDOUT_SEED
from nucleus_model.settings.phases import Phase
from nucleus_model.settings.settings import QuickTrainSettings


@dataclass(frozen=True)
class View:
    """What a phase trains on.

    Attributes:
        seed: The run's seed.
        holdout_share: Share of samples held out, by a hash of the id.
        sample: Share of the set that is used at all, by another hash of the id.
        captioned: Whether there are samples without a caption, which are left out.
        captions: Weights of captions by source; None for equal weights.
        mixture: How often samples occur in an epoch, by column and value; None for once.
    """

    seed: int
    holdout_share: float
    sample: float
    captioned: bool
    captions: Mapping[str, float] | None
    mixture: Mapping[str, Mapping[str, float]] | None

    @classmethod
    def of(cls, settings: QuickTrainSettings, phase: Phase, without: int) -> "View":
        """Makes the view of a phase.

        Args:
            settings: The run's settings.
            phase: The phase, from `settings.plan`.
            without: Number of samples without a caption.
        """
        return cls(
            settings.seed,
            settings.holdout_share,
            settings.sample,
            without > 0,
            phase.captions,
            phase.mixture,
        )

    @property
    def whole(self) -> bool:
        """Whether every sample occurs exactly once, so that no tables need to be read."""
        return (
            not self.holdout_share
            and self.sample == 1
            and not self.captioned
            and self.captions is None
            and self.mixture is None
        )

    @property
    def changes(self) -> bool:
        """Whether the samples differ from epoch to epoch."""
        weights = [w for values in (self.mixture or {}).values() for w in values.values()]
        return any(weight % 1 for weight in weights)

    def copies(self, tables: Tables, tar: int, epoch: int) -> Numbers:
        """Returns how often each sample of a tar occurs in an epoch, in the tar's order."""
        if self.whole:
            return np.ones(tables.samples(tar), np.int64)
        ids = tables.places(tar)["id"]
        used = self.chosen(ids) & self.with_caption(tables, tar)
        return used * self.times(tables, tar, ids, epoch)

    def chosen(self, ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Returns a mask of the ids that are in the sample and not held out."""
        used = np.ones(len(ids), np.bool_)
        if self.holdout_share:
            used &= ~is_held_out(ids, self.holdout_share)
        if self.sample < 1:
            used &= np.array([sample_unit(t.decode()) < self.sample for t in as_hex(ids)], bool)
        return used

    def with_caption(self, tables: Tables, tar: int) -> NDArray[np.bool_]:
        """Returns a mask of a tar's samples that have a caption with a weight above 0."""
        if not self.captioned and self.captions is None:
            return np.ones(tables.samples(tar), np.bool_)
        return has_source(tables.caption_sources(tar).column("caption_sources"), self.captions)

    def times(self, tables: Tables, tar: int, ids: NDArray[np.uint8], epoch: int) -> Numbers:
        """Returns how often the mixture takes each sample of a tar in an epoch."""
        if self.mixture is None:
            return np.ones(len(ids), np.int64)
        table = tables.columns(tar, list(self.mixture))
        weights = np.ones(len(ids))
        for name, by_value in self.mixture.items():
            values = table.column(name).to_pylist()
            weights *= [by_value.get(str(value), 0.0) for value in values]
        part = keyed_units(f"mixture:{epoch}", self.seed, ids) < weights % 1
        return np.floor(weights).astype(np.int64) + part


def is_held_out(ids: NDArray[np.uint8], share: float) -> NDArray[np.bool_]:
    """Returns a mask of the held-out ids, by the rule of `settings.choice`."""
    return keyed_units("holdout", HOLDOUT_SEED, ids) < share
