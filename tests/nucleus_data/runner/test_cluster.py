import pytest

from nucleus_data.errors import RequestError
from nucleus_data.runner.cluster import check_corpus_uri, inside_job


def test_a_relative_corpus_is_refused_inside_a_job_alone(monkeypatch):
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert not inside_job()
    check_corpus_uri("c")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert inside_job()
    for absolute in ("/data/c", "s3://bucket/c", "memory://c"):
        check_corpus_uri(absolute)
    with pytest.raises(RequestError, match=r"corpus='\./c' is relative, and this is a Ray job"):
        check_corpus_uri("./c")
