import errno
import os

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.corpus.addresses import check_address, not_reached, reason
from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket",
        "s3://a.b-c_d/e f/g",
        "s3a://b/x?y",
        "s3://arn:aws:s3:eu-west-1:1:accesspoint/x",
        "gs://b/c",
        "hf://datasets/a/b",
        "hf://datasets/a/b@main/c.parquet",
        "hf://a/b",
        "hf://buckets/a/b/c",
        "memory://",
        "a b",
        "s3:/a b",
        "s3",
        "/",
    ],
)
def test_what_may_be_an_address_is_not_refused(uri):
    check_address(uri)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://a b/c", "'a b' is not a bucket name. Allowed: s3://BUCKET/FOLDER"),
        ("gs://a$/c", "'a$' is not a bucket name. Allowed: gs://BUCKET/FOLDER"),
        ("s3://", "the bucket is missing"),
        ("s3:///folder", "the bucket is missing"),
        ("s3://\n/x", "'\\n' is not a bucket name"),
        ("hf://", "the repository is missing. Allowed: hf://datasets/OWNER/NAME"),
        ("hf://a", "the repository is missing"),
        ("hf://datasets/a", "the repository is missing"),
        ("hf://datasets//a", "the repository is missing"),
        ("", "it is empty. Allowed: a local path"),
        (
            os.fsdecode(b"folder/\xff"),
            "its path is not UTF-8 text. Rename it, or create a link to it",
        ),
        ("a\0b", "it contains a null character. Allowed: "),
    ],
)
def test_what_is_no_address_is_refused_with_what_is_right(uri, said):
    with pytest.raises(RequestError, match=r"^cannot open ") as told:
        Store(uri)
    assert repr(uri) in str(told.value)
    assert said in str(told.value)


class Library(Exception):
    """What a store's own library raises: no OSError."""


class Refusing(MemoryFileSystem):
    """Raises the error of its class for whatever it is asked."""

    protocol = "refusing"
    cachable = False
    error: Exception = Library("Parameter validation failed:\nInvalid name 'x'.")

    def info(self, path, **options):
        raise self.error

    cat_file = ls = find = exists = isdir = glob = info

    def invalidate_cache(self, path=None):
        raise self.error


ASKED = {
    "exists": lambda store: store.exists("a"),
    "size": lambda store: store.size("a"),
    "read": lambda store: store.read("a"),
    "read_range": lambda store: store.read_range("a", 0, 1),
    "read_end": lambda store: store.read_end("a", 1),
    "list": lambda store: store.list("a"),
    "find": lambda store: store.find("a"),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_a_library_says_names_the_store(asked, monkeypatch):
    fsspec.register_implementation("refusing", Refusing, clobber=True)
    store = Store("refusing://there/c")
    with pytest.raises(RequestError) as told:
        ASKED[asked](store)
    said = "cannot open 'refusing://there/c': parameter validation failed: Invalid name 'x'. Give a"
    assert str(told.value).startswith(said)
    monkeypatch.setattr("nucleus_data.corpus.store.FIRST_DELAY_S", 0)
    monkeypatch.setattr(Refusing, "error", OSError(errno.ECONNREFUSED, "Connection refused"))
    with pytest.raises(ConnectionRefusedError) as refused:
        ASKED[asked](store)
    assert refused.value.filename == "refusing://there/c"


@given(st.text(), st.text())
def test_any_error_of_any_address_is_one_line(uri, said):
    for kind in (ValueError, KeyError, OSError, Library):
        text = str(not_reached(uri, kind(said)))
        assert "\n" not in text
        assert reason(kind(said)).strip()
