"""What is taken down is nowhere any more, and all else is as it was."""

import hashlib
import io

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.blocked import read_blocked
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.select.stage import published_selection
from nucleus_data.stages.upkeep import find, tasks
from nucleus_data.stages.upkeep.plan import read_plan
from nucleus_data.stages.upkeep.request import Request
from nucleus_data.stages.upkeep.takedown import forecast, take_down
from tests.support import curated
from tests.support.curated import picture
from tests.support.ingested import images, ingest, put, rows, tiny, tree, url_list
from tests.support.selecting import RULES, select


@pytest.fixture
def corpus(tmp_path):
    """Two shards of pictures from a folder, with captions; 1 and 4 are the same bytes."""
    source = put(tmp_path / "p", {f"{n}.png": tiny(n % 3) + bytes(n % 3) for n in range(6)})
    put(source, {f"{n}.txt": f"secret words {n}" for n in range(6)})
    found = Corpus(str(tmp_path / "c"), create=True)
    ingest(found, source, images_per_shard=3)
    return found


def run_of(corpus, **options):
    return curated.run(corpus.uri, "takedown", **options)


def taken(corpus, said=None, **asked):
    run = run_of(corpus, said=said)
    done = take_down(run, Request.of(**asked), DedupSettings())
    assert run.failures == []
    return done


def ident(n):
    return record_id("p", f"{n}.png")


def content_of(root):
    return b"".join(data for name, data in sorted(tree(root).items()) if "runs/" not in name)


def test_a_picture_and_its_equals_are_gone(corpus, tmp_path):
    before = {n: corpus.store.read(tar_name(n)) for n in (0, 1)}
    digest = hashlib.sha256(tiny(1) + b"\0").hexdigest()
    for n in (4, 5):
        for folder in ("runs/old", "runs/old/quick_train"):
            corpus.store.put(f"{folder}/{n}.html", f"<code>{ident(n)}</code>".encode())
    assert taken(corpus, ids=[ident(1)])
    pages = [path for path in corpus.store.find("runs") if path.endswith(".html")]
    assert pages == ["runs/old/5.html", "runs/old/quick_train/5.html"]
    found = {row["id"]: row for row in rows(corpus)}
    for n in (1, 4):
        told = {k: v for k, v in found[ident(n)].items() if v is not None}
        assert told.keys() == {"shard", "row", "id", "source", "error", "retryable"}
        assert told["error"] == "taken_down"
    assert [found[ident(n)]["error"] for n in (0, 2, 3, 5)] == [None] * 4
    # Tars keep their size, and all other pictures their place.
    for n in (0, 1):
        assert len(corpus.store.read(tar_name(n))) == len(before[n])
        assert len(images(corpus, n)) == 2
    left = content_of(corpus.uri)
    for gone in (tiny(1), b"secret words 1", b"secret words 4", b"1.png"):
        assert gone not in left
    assert read_blocked(corpus.store).of_sha256(digest).reason == "taken_down"


@pytest.mark.slow
def test_what_was_found_before_a_kill_is_looked_for_again(corpus, tmp_path, monkeypatch):
    create = type(corpus.store).create

    def killed(store, name, data):
        if name.endswith("plan.json"):
            raise KeyboardInterrupt
        return create(store, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(type(corpus.store), "create", killed)
        with pytest.raises(KeyboardInterrupt):
            taken(corpus, sha256=[hashlib.sha256(b"later").hexdigest()], ids=[ident(1)])
    put(tmp_path / "late", {"x.png": tiny(7)})
    ingest(corpus, tmp_path / "late")
    assert taken(corpus, sha256=[hashlib.sha256(b"later").hexdigest()], ids=[ident(1)])
    assert [row["error"] for row in rows(corpus)].count("taken_down") == 2


@pytest.mark.slow
def test_the_plan_is_read_once_in_a_process(corpus, monkeypatch):
    names = []

    def counted(store, name):
        names.append(name)
        return read_plan(store, name)

    monkeypatch.setattr(tasks, "read_plan", counted)
    # Of each shard: six tasks or more.
    assert taken(corpus, ids=[ident(0), ident(2), ident(4)])
    assert len(names) == 1


def test_an_id_within_other_digits_of_a_page_is_found(corpus):
    for n in (0, 1):
        corpus.store.put(f"runs/old/{n}.html", f"<code>ab{ident(n)}cd</code>".encode())
    assert taken(corpus, ids=[ident(1)])
    assert corpus.store.list("runs/old") == ["0.html"]


def test_shards_without_one_of_them_stay_as_they_are(corpus):
    before = tree(corpus.uri)
    assert taken(corpus, sha256=[hashlib.sha256(tiny(0)).hexdigest()])  # of 0 and 3
    assert taken(corpus, ids=["0" * 32])  # nobody's
    after = tree(corpus.uri)
    assert before["images/000000.tar"] != after["images/000000.tar"]
    corpus2 = {k: v for k, v in after.items() if k.startswith(("images", "tables", "claims"))}
    assert corpus2.keys() == {k for k in before if k.startswith(("images", "tables", "claims"))}


@pytest.mark.slow
def test_later_ingests_refuse_it(corpus, tmp_path):
    assert taken(corpus, ids=[ident(1)])
    before = tree(tmp_path / "c")
    for compare in (False, True):
        plan = ingest(corpus, tmp_path / "p", images_per_shard=3, compare_bytes=compare)
        assert plan.todo == []
        assert not any("since it was ingested" in line for line in plan.lines())
    assert tree(tmp_path / "c") == before
    put(tmp_path / "q", {"other name.png": tiny(1) + b"\0", "x.png": tiny(9)})
    ingest(corpus, tmp_path / "q")
    assert {r["key"]: r["error"] for r in rows(corpus) if r["source"] == "q"} == {
        "other name.png": "taken_down",
        "x.png": None,
    }


@pytest.mark.slow
def test_records_that_are_made_again_are_tombstones_too(corpus):
    assert taken(corpus, ids=[ident(1)])
    before = rows(corpus)
    corpus.store.remove(f"{corpus.records.folder}/000000-0.parquet")
    assert build_shard(corpus, 0)["reasons"] == {"taken_down": 1}
    assert rows(corpus) == before


@pytest.mark.slow
@pytest.mark.parametrize("few", [find.FEW_HOSTS, 0])
def test_by_url_and_host_and_failed_downloads_too(tmp_path, monkeypatch, few):
    monkeypatch.setattr(find, "FEW_HOSTS", few)
    from nucleus_data.stages.ingest import fetch as fetch_module
    from nucleus_data.stages.ingest.http.outcome import Download

    def download(urls, settings, folder):
        made = {"http://a.b.test/1": Download(tiny(1)), "http://c.test/2": Download(tiny(2))}
        moved = Download(tiny(3), final_url="http://b.test/moved")
        made |= {"http://c.test/3": moved, "http://c.test/4": Download(tiny(4))}
        lost = Download(None, "http_404", "no such picture", retryable=True)
        return iter([made.get(url, lost) for url in urls])

    monkeypatch.setattr(fetch_module, "download", download)
    corpus = Corpus(str(tmp_path / "c"), create=True)
    names = ("a.b.test/1", "c.test/2", "c.test/3", "c.test/4", "b.test/lost", "c.test/b.test")
    urls = [f"http://{name}" for name in names]
    ingest(corpus, url_list(tmp_path / "l.parquet", urls, caption=[f"text of {u}" for u in urls]))
    assert taken(corpus, hosts=["b.test"], urls=["https://c.test/2"])
    assert [row["error"] for row in rows(corpus)] == [
        *["taken_down"] * 3,
        None,
        "taken_down",
        "http_404",
    ]
    left = b"".join(d for n, d in tree(corpus.uri).items() if n.startswith(("images", "claims")))
    for gone in (tiny(1), tiny(2), tiny(3), b"b.test/lost", b"b.test/moved", b"text of http://a"):
        assert gone not in left
    assert tiny(4) in left
    retried = curated.run(corpus.uri, "retry")
    retried.retry("ingest")
    assert [row["error"] for row in rows(corpus)].count("taken_down") == 4


@pytest.fixture
def measured(tmp_path):
    """A corpus with all tables: 2 is a smaller copy of 0, and 3 another picture."""
    copy = io.BytesIO()
    from PIL import Image

    Image.open(io.BytesIO(picture(0))).save(copy, "JPEG", quality=80)
    pictures = {"0.png": picture(0), "1.png": picture(1), "2.jpg": copy.getvalue()}
    put(tmp_path / "p", {**pictures, "3.png": picture(3)})
    found = Corpus(str(tmp_path / "c"), create=True)
    ingest(found, tmp_path / "p", images_per_shard=2)
    curated.inspect(found)
    return found


@pytest.mark.slow
def test_near_duplicates_of_a_given_picture(measured, tmp_path):
    shown = tmp_path / "shown.jpg"
    from PIL import Image

    Image.open(io.BytesIO(picture(0))).save(shown, "JPEG", quality=60)
    made, _ = select(measured)
    hashed = made.tables["selection"]
    asked = run_of(measured, dry_run=True), Request.of(like=[shown]), DedupSettings()
    lines = list(forecast(*asked))
    assert "2 records, 2 of them with a picture" in lines[0]
    assert measured.store.list("takedowns") == []
    assert taken(measured, like=[shown])
    assert [row["error"] for row in rows(measured)] == ["taken_down", None, "taken_down", None]
    tables = [t for t in measured.store.list("tables") if t.startswith("inspect.")]
    for name in tables:
        (one,) = measured.config_hashes(name)
        assert [row["row"] for row in curated.table(measured, name, one)] == [1, 1]
    decided = curated.table(measured, "selection", hashed)
    assert [(r["state"], r["reasons"]) for r in decided] == [
        ("failed", ["taken_down"]),
        ("kept", []),
        ("failed", ["taken_down"]),
        ("kept", []),
    ]
    # The selection that there is stays the one of the tables, and its sums are right.
    again = curated.run(measured.uri, "select", RULES)
    assert again.stages["select"].named(again.run)["selection"] == hashed
    sums = published_selection(measured.store, hashed)
    assert sums["states"] == {"kept": 2, "failed": 2, "duplicate": 0, "rejected": 0, "pending": 0}
    counts = {"kept": 2, "failed": 2, "reasons:taken_down": 2, "nulls:bad": 2}
    assert {k: v for k, v in sums["counts"].items() if v} == counts
    states = measured.table("selection").aggregate("state, count(*)").fetchall()
    assert dict(states) == {"failed": 2, "kept": 2}
    curated.inspect(measured)  # there is nothing of them to measure
    (one,) = measured.config_hashes("inspect.tone")
    assert [row["row"] for row in curated.table(measured, "inspect.tone", one)] == [1, 1]


def test_what_cannot_be_asked(tmp_path):
    with pytest.raises(RequestError, match="needs --id"):
        Request.of()
    put(tmp_path, {"no.jpg": b"nothing"})
    with pytest.raises(RequestError, match=r"no\.jpg"):
        Request.of(like=[tmp_path / "no.jpg"])
