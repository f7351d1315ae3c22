"""What the tests of the loader share: a set opened with some settings, and what its batches are."""

from contextlib import closing
from itertools import islice, takewhile

from nucleus_model.data.batches import Cursor, Share
from nucleus_model.data.chosen import choose_samples
from nucleus_model.data.feed import Feed
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.plans import Plans
from nucleus_model.settings.settings import QuickTrainSettings

STREAMS = {"exact_below": 0, "streams": 8}


def settings(**changes):
    values = {"batch_size": 4, "holdout_share": 0.0, "caption_dropout": 0.3, **changes}
    return QuickTrainSettings.model_validate(values)


class Opened:
    """A set as a run of some settings sees it.

    Args:
        folder: The set's folder.
        share: Of this process.
        gather: Gathers all processes' texts.
        loader: Settings of the loader.
        changes: Of the other settings.
    """

    def __init__(self, folder, share=None, gather=None, loader=None, **changes):
        self.settings = settings(**changes, loader=loader or {})
        (self.phase,) = self.settings.plan()
        self.share = share or Share()
        self.set = TrainingSet(
            str(folder),
            edition=self.settings.edition,
            with_columns=self.phase.mixture is not None,
            loader=self.settings.loader,
            exact_below=self.settings.exact_below,
        )
        self.chosen = choose_samples(self.set, self.settings)
        self.plans = Plans(self.set, self.chosen, self.phase, self.settings, 8, self.share, gather)

    def batches(self, count, start=None):
        """The first so many batches from a cursor on: cursor, slots, ids, captions, pixels."""
        start = start or Cursor()
        most = [-(-size // self.share.size) for size in self.plans.batch_sizes]
        planned = self.plans.batches(start, self.share)
        found = []
        with (
            Feed(self.set, planned, self.phase, self.settings, most) as feed,
            closing(iter(feed)) as batches,
        ):
            for loaded in islice(batches, count):
                kept = loaded.ids, loaded.captions, loaded.images.tobytes()
                found.append((loaded.plan.cursor, loaded.plan.slots, *kept))
        return found

    def each(self, start=None):
        """Each batch's cursor and ids, without end; no picture is read."""
        for plan in self.plans.batches(start or Cursor(), self.share):
            places = zip(plan.tars, plan.rows, strict=True)
            yield plan.cursor, [self.ident(*place) for place in places]

    def ids(self, count, start=None):
        """The cursors and ids of the first so many batches from a cursor on."""
        return list(islice(self.each(start), count))

    def ident(self, tar, row):
        """The id of a sample."""
        return self.set.tables.places(int(tar))["id"][int(row)].tobytes().hex()

    def epoch(self, number=0):
        """The ids of an epoch's batches."""
        batches = takewhile(lambda batch: batch[0].epoch == number, self.each(Cursor(0, number)))
        return [ids for _, ids in batches]
