import sys

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.http import download as by_img2dataset
from nucleus_data.stages.ingest.http import downloader, fetcher
from nucleus_data.stages.ingest.http.outcome import Download
from nucleus_data.stages.ingest.settings import IngestSettings


@pytest.fixture
def called(monkeypatch):
    made = []

    def note(name):
        def fetch(*arguments, **named):
            made.append((name, arguments, named))
            return iter([Download(b"x")])

        return fetch

    monkeypatch.setattr(by_img2dataset, "download", note("img2dataset"))
    monkeypatch.setattr(fetcher, "fetch_urls", note("nucleus"))
    return made


def test_a_claim_says_who_asks_and_those_that_do_not_are_asked_by_us(called, tmp_path):
    for said in ({}, {"downloader": "nucleus"}, {"downloader": "img2dataset"}):
        claim = IngestSettings(**said, timeout_s=3).for_claim()
        assert ("downloader" in claim) == bool(said)
        assert [o.data for o in downloader.download(["http://h"], claim, tmp_path)] == [b"x"]
    assert [name for name, *_ in called] == ["nucleus", "nucleus", "img2dataset"]
    assert called[0][1][1].timeout_s == 3
    assert downloader.resumes({}) is True
    assert downloader.resumes({"downloader": "img2dataset"}) is False


def test_only_what_was_said_is_in_a_claim():
    old = {"max_bytes", "timeout_s", "retries", "threads", "allow_hosts"}
    assert IngestSettings().for_claim().keys() == old
    said = IngestSettings(contact="me@example.org", robots=False)
    assert said.for_claim().keys() == {*old, "contact", "robots"}


def test_shares_of_domains(called, tmp_path):
    claim = {**IngestSettings().for_claim(), downloader.SHARE: {"a.com": 3, "b.com": 7}}
    list(downloader.download(["http://a.com"], claim, tmp_path))
    share = called[0][2]["share"]
    assert [share(domain) for domain in ("a.com", "b.com", "led.there")] == [3, 7, 7]


def test_img2dataset_is_asked_for_only_where_it_is_wanted(monkeypatch):
    monkeypatch.setitem(sys.modules, "img2dataset", None)
    monkeypatch.setattr(by_img2dataset.importlib.util, "find_spec", lambda name: None)
    downloader.require("nucleus")
    with pytest.raises(RequestError, match="pip install"):
        downloader.require("img2dataset")
