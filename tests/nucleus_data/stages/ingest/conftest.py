import pytest

from nucleus_data.corpus import Corpus


@pytest.fixture
def corpus(tmp_path):
    return Corpus(str(tmp_path / "corpus"), create=True)
