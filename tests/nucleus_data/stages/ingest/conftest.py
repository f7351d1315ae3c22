import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.stages.ingest.http import client, waits


@pytest.fixture
def corpus(tmp_path):
    return Corpus(str(tmp_path / "corpus"), create=True)


@pytest.fixture
def hasty(monkeypatch):
    """The fetcher waits a tenth: of what a `Retry-After` asks for, and before it asks again."""

    def a_tenth(value):
        seconds = waits.retry_after(value)
        return None if seconds is None else seconds / 10

    monkeypatch.setattr(client, "retry_after", a_tenth)
    monkeypatch.setattr(waits, "FIRST_S", waits.FIRST_S / 10)
