"""`nucleus retry ingest`: failed downloads again, each record counted once at any moment."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.errors import CorpusError
from nucleus_data.pages import queries
from nucleus_data.stages.ingest import build as build_module
from nucleus_data.stages.ingest import fetch as fetch_module
from nucleus_data.stages.ingest import retry as retry_module
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.claims import claim_numbers, read_claim, read_origin
from nucleus_data.stages.ingest.http.download import Download
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.retry import plan_retry
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.views import explain, export, status, status_lines
from tests.support import curated
from tests.support.curated import picture
from tests.support.quick import quick

BARE = "select.rules={}"
NOW = (None, "http_500", "http_404", "timeout", None, "http_500", None)


class Web:
    """What the fake network answers for each URL: a picture, or a reason."""

    def __init__(self) -> None:
        self.down = {1, 3, 5}
        self.gone = {2}
        self.asked: list[list[str]] = []
        self.settings: list[dict] = []

    def download(self, urls, settings, folder):
        self.asked.append(list(urls))
        self.settings.append(settings)
        for url in urls:
            number = int(url.rpartition("/")[2].removesuffix(".png"))
            if number in self.gone:
                yield Download(None, "http_404", "Not Found", False)
            elif number in self.down:
                reason = "timeout" if number == 3 else "http_500"
                yield Download(None, reason, f"attempt {len(self.asked)}", True)
            else:
                yield Download(picture(number))


@pytest.fixture
def web(monkeypatch):
    made = Web()
    monkeypatch.setattr(fetch_module, "download", made.download)
    return made


@pytest.fixture
def corpus(tmp_path, web):
    """Seven URLs in three shards: three down, one gone."""
    source = tmp_path / "list.parquet"
    urls = [f"http://h/{n}.png" for n in range(7)]
    captions = [f"caption {n}" for n in range(7)]
    pq.write_table(pa.table({"url": urls, "caption": captions, "n": range(7)}), source)
    made = Corpus(str(tmp_path / "corpus"), create=True)
    settings = IngestSettings(source=str(source), images_per_shard=3, timeout_s=3)
    for number in plan_ingest(made, settings).todo:
        build_shard(made, number)
    assert errors(made) == list(NOW)
    web.asked.clear()
    return made


def errors(corpus):
    """The error of each record by the number of its URL; each is there once in every reading."""
    rows = [r for n in corpus.shards() for r in corpus.records.read(n).to_pylist()]
    table = corpus.table("records").order("shard, row").to_arrow_table().to_pylist()
    assert [(r["shard"], r["row"], r["id"], r["error"]) for r in rows] == [
        (r["shard"], r["row"], r["id"], r["error"]) for r in table
    ]
    covered = {n: corpus.records.covered(n).tolist() for n in corpus.shards()}
    assert [(n, row) for n in covered for row in covered[n]] == [
        (r["shard"], r["row"]) for r in rows
    ]
    narrow = [i for n in corpus.shards() for i in corpus.records.read(n, ["id"])["id"].to_pylist()]
    assert narrow == [r["id"] for r in rows]
    assert len(set(narrow)) == 7
    assert all(r["source.caption"] == f"caption {r['source.n']}" for r in rows)
    return [r["error"] for r in sorted(rows, key=lambda r: r["source.n"])]


def retry(corpus, *overrides, stage="ingest"):
    said = []
    run = curated.run(corpus.uri, "retry", *overrides, said=said)
    run.retry(stage)
    assert run.failed_shards == 0
    return said


def curate(corpus):
    run = curated.run(corpus.uri, "curate", BARE)
    run.do("inspect")
    run.do("dedup")
    return run, run.select()


def states(kept, failed):
    return {"kept": kept, "rejected": 0, "duplicate": 0, "failed": failed, "pending": 0}


def test_what_may_pass_is_downloaded_again_and_nothing_else(corpus, web):
    before = {n: corpus.records.read(n).to_pylist() for n in corpus.shards()}
    web.down = {5}
    said = []
    curated.run(corpus.uri, "retry", said=said, dry_run=True).retry("ingest")
    assert said == ["ingest: 3 downloads to retry"]
    assert (web.asked, claim_numbers(corpus.store)) == ([], [0, 1, 2])
    said = retry(corpus)
    assert said[0] == "3 downloads to retry, in 1 image shards"
    assert web.asked == [["http://h/1.png", "http://h/3.png", "http://h/5.png"]]
    assert errors(corpus) == [None, None, "http_404", None, None, "http_500", None]
    new = corpus.records.read(3).to_pylist()
    old = [before[0][1], before[1][0], before[1][2]]
    for again, first in zip(new, old, strict=True):
        assert (again["id"], again["key"]) == (first["id"], first["key"])
    web.down = set()
    assert retry(corpus)[0] == "1 downloads to retry, in 1 image shards"
    assert web.asked[1:] == [["http://h/5.png"]]
    assert errors(corpus) == [None, None, "http_404", *[None] * 4]
    assert retry(corpus) == ["ingest: nothing to retry"]
    assert (len(web.asked), claim_numbers(corpus.store)) == (2, [0, 1, 2, 3, 4])


def test_only_permanent_failures_are_nothing_to_retry(corpus, web):
    web.gone |= web.down
    retry(corpus)  # what was down is gone now
    assert errors(corpus) == [e and "http_404" for e in NOW]
    web.asked.clear()
    assert retry(corpus) == ["ingest: nothing to retry"]
    assert (web.asked, corpus.shards()) == ([], [0, 1, 2, 3])


@pytest.mark.slow
def test_sums_agree_before_and_after(corpus, web):
    run, first = curate(corpus)
    assert first == states(3, 4)
    web.down = {5}
    retry(corpus)
    again, second = curate(corpus)
    assert second == states(5, 2)
    assert again.tables["selection"] != run.tables["selection"]
    assert [(line["stage"], line["rows"]) for line in again.lines] == [
        ("inspect", 5),
        ("dedup", 7),
        ("select", 7),
    ]
    looking = curated.run(corpus.uri, "status", BARE, dry_run=True)
    content = status.status(looking.run, looking.stages)
    assert (content["records"], content["shards"], content["claimed_shards"]) == (7, 4, 4)
    assert (content["failed_records"], content["failed_records_retryable"]) == (2, 1)
    lines = list(status_lines.status_lines(content))
    assert "  2 of them failed and have no image, 1 of these temporarily" in lines
    assert "nucleus retry corpus=" in lines[-1]
    ledger = queries.ledger(queries.Tables(corpus, again.tables))
    assert (ledger.records, ledger.with_image, ledger.states) == (7, 5, {"failed": 2, "kept": 5})
    assert (ledger.adds_up, ledger.undecided, ledger.orphans) == (True, 0, 0)
    looking.use_selection()
    target = str(corpus.store.path("kept.csv"))
    assert export.export(looking.run, looking.stages["select"], target) == 5
    limited = curated.run(corpus.uri, "select", BARE, limit=6)
    assert limited.shard_limits() == {0: 2, 1: 1, 2: 1, 3: 2}
    web.down = set()
    retry(corpus)
    _, third = curate(corpus)
    assert third == states(6, 1)
    made = curated.run(corpus.uri, "shard", BARE, "shard.captions=[source]")
    made.do("shard")
    assert made.lines[-1]["done"] == 6


@pytest.mark.slow
def test_the_story_tells_of_earlier_downloads(corpus, web):
    retry(corpus)
    web.down = set()
    retry(corpus)
    ident = corpus.records.read(4, ["id"])["id"][0].as_py()
    story = explain.explain(corpus, ident)
    assert (story["record"]["shard"], "error" in story["record"]) == (4, False)
    assert [(e["shard"], e["error"], e["detail"]) for e in story["earlier downloads"]] == [
        (0, "http_500", "attempt 1"),
        (3, "http_500", "attempt 1"),
    ]
    good = corpus.records.read(0, ["id"])["id"][0].as_py()
    assert explain.explain(corpus, good)["earlier downloads"] == []


@pytest.mark.slow
def test_a_shard_of_which_nothing_is_left_has_no_rows(tmp_path, web):
    source = tmp_path / "l.txt"
    source.write_text("http://h/1.png\nhttp://h/3.png\nhttp://h/4.png\n")
    corpus = Corpus(str(tmp_path / "c"), create=True)
    for number in plan_ingest(corpus, IngestSettings(source=str(source), images_per_shard=2)).todo:
        build_shard(corpus, number)
    web.down = set()
    retry(corpus)
    assert corpus.records.read(0).num_rows == 0
    assert curate(corpus)[1] == states(3, 0)


@pytest.mark.slow
def test_ingesting_again_adds_nothing(corpus, web, tmp_path):
    web.down = set()
    retry(corpus)
    plan = plan_ingest(corpus, IngestSettings(source=str(tmp_path / "list.parquet")))
    assert (plan.found, plan.new, plan.todo) == (7, 0, [])


def test_a_retry_is_downloaded_as_the_first_time_but_for_what_is_said(corpus, web):
    web.settings.clear()
    retry(corpus)
    retry(corpus, "ingest.threads=5", "ingest.allow_hosts=[h]")
    first, second = web.settings
    assert first == read_origin(corpus, 0).settings
    assert first["timeout_s"] == 3
    assert second == {**first, "threads": 5, "allow_hosts": ["h"]}


@pytest.mark.slow
def test_shards_have_their_size(corpus):
    settings = IngestSettings(images_per_shard=2)
    plan = plan_retry(corpus, settings)
    assert (plan.rows, plan.todo) == (3, [3, 4])
    assert [read_claim(corpus, n).rows.num_rows for n in plan.todo] == [2, 1]
    assert (plan_retry(corpus, settings).rows, plan_retry(corpus, settings).todo) == (3, [3, 4])


@pytest.mark.slow
def test_lists_with_other_columns_keep_them(corpus, web, tmp_path):
    source = tmp_path / "other.csv"
    source.write_text("url,weight\nhttp://h/5.png,0.5\n")
    for number in plan_ingest(corpus, IngestSettings(source=str(source))).todo:
        build_shard(corpus, number)
    web.down = set()
    retry(corpus)
    rows = corpus.records.read(5).to_pylist()
    assert [(r["source"], r["source.weight"], r["error"]) for r in rows] == [("other", 0.5, None)]
    assert corpus.records.read(4)["source.n"].to_pylist() == [1, 3, 5]


@pytest.mark.parametrize("step", quick(["supersede", "append", "create_file"], {"append"}))
def test_a_killed_retry_changes_nothing_and_goes_on(corpus, web, monkeypatch, step):
    web.down = set()
    plan = plan_retry(corpus, IngestSettings())
    with monkeypatch.context() as patch:
        owner = type(corpus.store) if step == "create_file" else type(corpus.records)
        patch.setattr(owner, step, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_shard(corpus, plan.todo[0])
    assert errors(corpus) == list(NOW)
    assert retry(corpus)[0] == "3 downloads to retry, in 1 image shards"
    assert errors(corpus) == [None, None, "http_404", *[None] * 4]
    assert claim_numbers(corpus.store) == [0, 1, 2, 3]
    assert len(web.asked) == (2 if step == "create_file" else 1)


def test_a_shard_that_failed_is_built_by_a_retry(corpus, web, tmp_path, monkeypatch):
    source = tmp_path / "more.txt"
    source.write_text("http://h/4.png\n")
    run = curated.run(corpus.uri, "ingest", f"ingest.source={source}")
    with monkeypatch.context() as patch:
        patch.setattr(build_module, "derive_records", lambda *_: 1 / 0)
        run.do("ingest")
    assert run.failed_shards == 1
    retry(corpus)
    assert corpus.shards() == [0, 1, 2, 3, 4]
    assert corpus.records.read(3)["source"].to_pylist() == ["more"]


@pytest.mark.slow
def test_two_retries_at_once_claim_each_url_once(corpus, web, monkeypatch):
    """Another retry, with smaller shards, claims between this one's look and its first claim."""
    create = retry_module.create_claim

    def late(*arguments):
        monkeypatch.setattr(retry_module, "create_claim", create)
        other = Corpus(corpus.uri)
        plan_retry(other, IngestSettings(images_per_shard=1))
        build_shard(other, 3)  # and builds the first
        return create(*arguments)

    web.down = {5}
    monkeypatch.setattr(retry_module, "create_claim", late)
    plan = plan_retry(corpus, IngestSettings())
    assert (plan.rows, plan.todo) == (2, [4, 5])
    for number in plan.todo:
        build_shard(corpus, number)
    assert errors(corpus) == [None, None, "http_404", None, None, "http_500", None]
    assert sorted(url for urls in web.asked for url in urls) == [
        f"http://h/{n}.png" for n in (1, 3, 5)
    ]


def test_no_record_is_ever_superseded_by_two(corpus):
    places = corpus.records.read(0, ["shard", "row", "id"]).slice(1, 1)
    corpus.records.supersede(places, 7)
    corpus.records.supersede(places, 7)  # the same again is no conflict
    with pytest.raises(CorpusError, match="another shard already replaces"):
        corpus.records.supersede(places, 8)
    assert errors(corpus) == list(NOW)  # shard 7 is not there


@pytest.mark.slow
def test_other_kinds_of_sources_are_left_alone(corpus, web, tmp_path):
    web.down = set()
    retry(corpus)
    (tmp_path / "pictures").mkdir()
    for n in range(2):
        (tmp_path / f"pictures/{n}.png").write_bytes(picture(n))
    plan = plan_ingest(corpus, IngestSettings(source=str(tmp_path / "pictures")))
    schema = corpus.records.read(0).schema
    claimed = read_claim(corpus, plan.todo[0]).rows.select(["row", "id", "source", "key"])
    rows = [
        {**r, "shard": plan.todo[0], "error": "unreadable", "retryable": True}
        for r in claimed.to_pylist()
    ]
    corpus.records.append(plan.todo[0], pa.Table.from_pylist(rows, schema), {})
    assert retry(corpus) == ["ingest: nothing to retry"]


class Flaky(BaseHTTPRequestHandler):
    answers: dict[str, int] = {}  # noqa: RUF012

    def do_GET(self):
        status = self.answers.get(self.path, 200)
        body = picture(sum(self.path.encode())) if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        return


@pytest.mark.slow
def test_a_server_that_recovers(tmp_path, monkeypatch):
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        Flaky.answers = {"/b.png": 500, "/cc.png": 404}
        port = httpd.server_port
        source = tmp_path / "l.txt"
        source.write_text("".join(f"http://127.0.0.1:{port}/{n}.png\n" for n in ("a", "b", "cc")))
        options = (f"ingest.source={source}", "ingest.retries=0", "ingest.threads=2")
        hosts = "ingest.allow_hosts=['127.0.0.1']"
        uri = tmp_path / "corpus"
        curated.run(uri, "ingest", *options, hosts, create=True).do("ingest")
        corpus = Corpus(str(uri))
        tar = corpus.store.read(tar_name(0))
        assert corpus.records.read(0)["error"].to_pylist() == [None, "http_500", "http_404"]
        Flaky.answers = {"/cc.png": 404}
        retry(corpus)  # the claim remembers which hosts are allowed
        rows = corpus.table("records").order("key").to_arrow_table().to_pylist()
        assert [r["error"] for r in rows] == [None, None, "http_404"]
        assert (rows[1]["shard"], corpus.store.read(tar_name(0))) == (1, tar)
        _, found = curate(corpus)
        assert found == states(2, 1)
        assert retry(corpus) == ["ingest: nothing to retry"]
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.mark.slow
def test_the_marks_are_shard_aligned(corpus, web):
    retry(corpus)
    marks = corpus.records.retried
    assert isinstance(marks, Table)
    assert marks.shards() == [0, 1]
    assert [(r["row"], r["by"]) for r in marks.read(1).to_pylist()] == [(0, 3), (2, 3)]
    assert json.loads(corpus.store.read("corpus.json"))["format"] == 1
