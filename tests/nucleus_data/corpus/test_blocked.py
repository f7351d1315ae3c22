import os

import pytest

from nucleus_data.corpus import blocked
from nucleus_data.corpus.blocked import (
    BLOCKED,
    HOST,
    ID,
    SHA256,
    TAKEN_DOWN,
    URL,
    Entry,
    add_blocked,
    plain,
    plain_url,
    read_blocked,
)
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "c"))


def entry(kind, value, reason=BLOCKED):
    return Entry(kind, plain(kind, value), reason)


def test_what_is_refused_and_why(store):
    assert not read_blocked(store)
    add_blocked(
        store,
        [
            entry(HOST, "Example.ORG."),
            entry(URL, "https://a.test:443/x%41.jpg?q=1#top"),
            entry(SHA256, "AB" * 32),
            entry(ID, "0" * 32, TAKEN_DOWN),
        ],
    )
    known = read_blocked(store)
    assert known.of_url("http://example.org/any.jpg").reason == BLOCKED
    assert "host example.org" in known.of_url("https://cdn.example.org:8080/any.jpg").detail
    assert known.of_url("https://notexample.org/a.jpg") is None
    assert known.of_url("http://A.test/xA.jpg?q=1").reason == BLOCKED
    assert known.of_url("http://a.test/xA.jpg") is None
    assert known.of_sha256("ab" * 32).reason == BLOCKED
    assert known.of_id("0" * 32).reason == TAKEN_DOWN
    assert known.of_url(None) is known.of_url("") is known.of_url("http://[bad") is None


@pytest.mark.parametrize("url", [b"http://h/\xe9.jpg", b"http://h/?\xe9", b"http://h\xe9/a.jpg"])
def test_an_argument_that_is_no_utf_8_is_no_url(url):
    with pytest.raises(RequestError, match=r"udce9.* is not a URL such as https"):
        plain(URL, os.fsdecode(url))


def test_a_commit_holds_what_is_new_alone(store):
    one, two = entry(HOST, "a.test"), entry(HOST, "b.test")
    assert add_blocked(store, [one]) == [one]
    assert add_blocked(store, [one, two]) == [two]
    assert add_blocked(store, [one, two]) == []
    assert store.list("blocked") == ["000000.parquet", "000001.parquet"]
    gone = entry(HOST, "a.test", None)
    assert add_blocked(store, [gone]) == [gone]
    assert add_blocked(store, [gone]) == []
    assert read_blocked(store).entries() == [two]


def test_blocking_again_leaves_a_takedown_one(store):
    add_blocked(store, [entry(HOST, "a.test", TAKEN_DOWN)])
    assert add_blocked(store, [entry(HOST, "a.test")]) == []
    assert read_blocked(store).of_url("http://a.test/").reason == TAKEN_DOWN


def test_two_writers(store, monkeypatch):
    create, first = store.create, [entry(HOST, "other.test")]

    def late(name, data):
        if first:
            other, first[:] = list(first), []
            add_blocked(Store(store.uri), other)
        return create(name, data)

    monkeypatch.setattr(store, "create", late)
    add_blocked(store, [entry(HOST, "mine.test")])
    assert [e.value for e in read_blocked(store).entries()] == ["mine.test", "other.test"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [(ID, "12"), (SHA256, "g" * 64), (URL, "a.jpg"), (HOST, "https://a.test/"), (HOST, "")],
)
def test_values_of_no_kind_are_refused(kind, value):
    with pytest.raises(RequestError, match="is no"):
        plain(kind, value)


@pytest.mark.parametrize("host", ["a.test:8080", "1.2.3.4:80", "a.test:", "user:pw@a.test", "a:b"])
def test_a_host_with_a_port_is_refused_as_it_would_meet_no_url(host):
    with pytest.raises(
        RequestError, match=r"is not a host such as images\.example\.org, without a port"
    ):
        plain(HOST, host)


def test_an_address_is_a_host(store):
    add_blocked(store, [entry(HOST, plain(HOST, host)) for host in ("2001:db8::1", "1.2.3.4")])
    known = read_blocked(store)
    assert known.of_url("http://[2001:DB8::1]:8080/a") is not None
    assert known.of_url("http://1.2.3.4:8080/a") is not None


def test_urls_are_compared_without_scheme_port_and_fragment():
    assert plain_url("HTTPS://Ex.test:443/a b/ü.jpg?x=ö#f") == plain_url(
        "http://ex.test:80/a%20b/%C3%BC.jpg?x=%c3%b6"
    )
    assert plain_url("http://ex.test:8080/") != plain_url("http://ex.test/")
    assert plain_url("http://bücher.test") == "xn--bcher-kva.test/"


def test_a_damaged_list_lets_nothing_in(store):
    store.create("blocked/000000.parquet", b"nothing")
    with pytest.raises(DamagedError, match="would accept what was blocked"):
        read_blocked(store)


def test_a_list_is_taken_apart_once_in_a_process(store, monkeypatch):
    add_blocked(store, [entry("host", "a.test")])
    read_blocked(store)
    with monkeypatch.context() as patch:
        patch.setattr(blocked, "_reasons", None)
        assert read_blocked(store).of_url("http://a.test/1") is not None
    add_blocked(store, [entry("host", "b.test")])
    assert read_blocked(store).of_url("http://b.test/1") is not None
    store.put("blocked/000000.parquet", b"nothing")
    with pytest.raises(DamagedError):
        read_blocked(store)
