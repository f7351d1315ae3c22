import pytest

from tests.support.released import earlier_release, later_corpus


@pytest.fixture
def release(tmp_path):
    return earlier_release(tmp_path / "release")


@pytest.fixture
def corpus(tmp_path):
    return later_corpus(tmp_path / "own")
