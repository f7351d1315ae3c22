import pytest
from pydantic import BaseModel

from nucleus_data.stage import CorpusStage


class NoSettings(BaseModel):
    """A stage of a test has none."""


class Whole(CorpusStage[NoSettings]):
    name, help, Settings = "whole", "Whole.", NoSettings

    def pin(self, run):
        return {}

    def count(self, run):
        return

    def do(self, run):
        return


def test_what_a_corpus_stage_says_of_itself_by_default():
    stage = Whole(NoSettings())
    assert not stage.retried
    assert stage.missing() is None
    assert list(stage.folders({})) == []
    with pytest.raises(NotImplementedError, match="whole has nothing to retry"):
        stage.retry(None)


def test_a_stage_that_lacks_a_method_can_t_be_made():
    class Half(CorpusStage[NoSettings]):
        name, help, Settings = "half", "Half.", NoSettings

    with pytest.raises(TypeError, match="abstract"):
        Half(NoSettings())
