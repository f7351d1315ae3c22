import pytest

from tests.support.reported import Made, whole_corpus


@pytest.fixture
def whole(tmp_path) -> Made:
    return whole_corpus(tmp_path / "corpus")
