"""A corpus that has a small training set, and the stage `encode` on it, with the real training."""

from nucleus_data.corpus import Corpus
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Resources
from nucleus_data.sets.encoded import ENCODED
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.encode.settings import EncodeSettings
from nucleus_data.stages.encode.stage import Encode
from nucleus_data.stages.train.stage import Train
from nucleus_model.settings.settings import QuickTrainSettings
from tests.support.sets import EDITION, make_set

SET = "sets/made/0123456789abcdef"
SETTINGS = {
    "preset": "debug",
    "codec_factor": 2,
    "steps": 3,
    "batch_size": 4,
    "holdout_share": 0.2,
    "caption_dropout": 0.3,
    "sample_steps": 1,
    "sample_rows": 1,
    "sample_seeds": (0,),
}


def training(**changes):
    """Settings of a training that takes a second."""
    return QuickTrainSettings.model_validate({**SETTINGS, **changes})


class Encoding:
    """A corpus with a set of 11 pictures, 2 of them without a caption.

    Args:
        folder: Where it is made, unless it is there.
        buckets: As of `make_set`, for another set.
    """

    def __init__(self, folder, buckets=None) -> None:
        self.corpus = Corpus(str(folder / "c"), create=True)
        self.path = folder / "c" / SET
        if not self.path.exists():
            make_set(self.path, buckets)
        self.folder = SetFolder(self.corpus.store, SET)
        self.said: list[str] = []

    def run(self, *, dry_run=False, settings=None, loop=InlineLoop, actors=0, **changes):
        """Does the stage, or counts; returns what it noted about itself.

        Args:
            dry_run: Only count.
            settings: Of the training, other than usual.
            loop: What does the work, and with how many actors.
            actors: See `loop`.
            changes: Settings of the stage.
        """
        self.said.clear()
        stage = Encode(EncodeSettings(enabled=True, **changes), Train(settings or training(), None))
        run = Run(
            self.corpus,
            Pins({}, training_set=SET, edition=EDITION),
            command="encode",
            resources={"encode": Resources(actors=actors, num_cpus=0.5)},
            loop=loop,
            dry_run=dry_run,
            say=self.said.append,
        )
        run.pin(stage.pin(run))
        if dry_run:
            return stage.count(run)
        stage.do(run)
        return run.folder.stages[-1]

    def files(self):
        """Path below `encoded/` -> bytes of every file."""
        root = self.path / ENCODED
        found = sorted(path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): path.read_bytes() for path in found}
