"""The command, in this process and without Ray; `test_on_ray` has it on a real one.

`main` ends its process; others test it.
"""

import csv
import json
import shutil
from collections import Counter
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.line.lines import LINES
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.command import nucleus, work_here
from tests.support.ingested import put, tiny
from tests.support.quick import quick
from tests.support.worlds import write_pictures

STATES = ("kept", "rejected", "duplicate", "failed", "pending")
DROPPED = {
    "truncated": "failed",
    "html": "failed",
    "blank": "rejected",
    "blurred": "rejected",
    "tiny": "rejected",
    "extreme_aspect": "rejected",
    "mislabelled": "rejected",
}


def listing(folder):
    return {(str(p.relative_to(folder)), p.stat().st_mtime_ns) for p in folder.rglob("*")}


@pytest.fixture(scope="module", autouse=True)
def inline():
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory, inline):
    """60 pictures with planted faults, and the line from ingest to select over them."""
    root = tmp_path_factory.mktemp("world")
    truth = {entry.file: entry for entry in write_pictures(root / "pictures", 60, 1)}
    corpus = f"corpus={root / 'corpus'}"
    source = f"ingest.source={root / 'pictures'}"
    said = {"ingest": nucleus("ingest", corpus, source, "ingest.images_per_shard=25")}
    shutil.copytree(root / "corpus", root / "ingested")
    for stage in ("inspect", "dedup", "select"):
        said[stage] = nucleus(stage, corpus)
    return SimpleNamespace(root=root, corpus=corpus, source=source, said=said, truth=truth)


@pytest.fixture
def ingested(world, tmp_path):
    """A corpus of its own that is ingested and nothing else."""
    shutil.copytree(world.root / "ingested", tmp_path / "corpus")
    return tmp_path / "corpus"


def selection(world):
    corpus = Corpus(str(world.root / "corpus"))
    rows = corpus.table("selection").to_arrow_table().to_pylist()
    keys = {r["id"]: r["key"] for r in corpus.table("records").to_arrow_table().to_pylist()}
    return {keys[row["id"]]: row for row in rows}


def test_every_file_ends_in_one_state_and_the_sums_agree(world):
    assert (
        "60 rows found, 0 already in the corpus, 60 new in 3 image shards" in world.said["ingest"]
    )
    assert "ingest: 60 rows, 60 done" in world.said["ingest"]
    assert "inspect: 60 rows, 58 done, 2 failed" in world.said["inspect"]
    assert "dedup: 60 records, " in world.said["dedup"]
    rows = selection(world)
    assert sorted(rows) == sorted(world.truth)
    counts = Counter(row["state"] for row in rows.values())
    sums = " + ".join(f"{counts.get(state, 0)} {state}" for state in STATES)
    assert f"select: 60 records = {sums} (" in world.said["select"]
    assert sum(counts.values()) == 60
    assert "  truncated: 1\n" in world.said["select"]


def test_what_was_planted_is_found(world):
    rows = selection(world)
    found = {entry.fault: rows[file]["state"] for file, entry in world.truth.items()}
    assert {fault: found[fault] for fault in DROPPED} == DROPPED
    for file, entry in world.truth.items():
        if entry.fault == "none":
            assert rows[file]["state"] in ("kept", "duplicate")
        if entry.fault == "exact_copy":
            pair = {rows[file]["state"], rows[entry.original]["state"]}
            assert pair in ({"kept", "duplicate"}, {"duplicate"})


def test_going_on_does_nothing_twice(world):
    said = nucleus("ingest", world.corpus, world.source)
    assert "60 rows found, 60 already in the corpus, 0 new" in said
    assert "inspect: 60 rows, 60 already done, 0 done" in nucleus("inspect", world.corpus)


@pytest.mark.parametrize("command", quick(sorted({*LINES, "demo"}), 8))
def test_a_dry_run_writes_nothing(world, command, tmp_path):
    before = listing(world.root)
    if command == "demo":
        said = nucleus("demo", "--dry-run", "--out", tmp_path / "demo")
        assert not (tmp_path / "demo").exists()
    else:
        options = [world.corpus, world.source] if command in ("ingest", "all") else [world.corpus]
        if command == "score-captions":
            options.append("score_captions.variants=[short]")
        if command == "encode":
            options.append("encode.enabled=true")
        said = nucleus(command, "--dry-run", *options)
    assert listing(world.root) == before
    counted = {
        "ingest": "60 already in the corpus, 0 new",
        "inspect": "inspect: 60 rows, 60 already done, 0 to do",
        "dedup": "dedup: 60 records to compare",
        "compare": "compare: the copies of ",
        "select": "rules, 3 shards to decide about",
        "caption": "caption: ",
        "shard": "kept records, ",
        "encode": "encode: ",
        "quick-train": "quick_train: ",
        "report": "report: one page",
        "curate": "dedup, compare, select, embed, score, select: not counted (depends on earlier",
        "recaption": "shard: not counted (depends",
        "embed": "embed: ",
        "score": "score: ",
        "score-captions": "score_captions: ",
        "all": "dedup, compare, select, embed, score, select, caption, shard, quick_train, report",
        "demo": "not counted (depends on the pictures)",
    }
    assert counted[command] in said


def test_a_dry_run_of_a_new_corpus_makes_none(world, tmp_path):
    said = nucleus("ingest", "--dry-run", f"corpus={tmp_path / 'c'}", world.source)
    assert "60 rows found, 0 already in the corpus, 60 new in 1 image shards" in said
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def without_ray(monkeypatch):
    """Connecting to Ray fails, which takes seconds and must come after all that can be told."""

    def connected(settings):
        raise AssertionError("Ray was started")

    monkeypatch.setattr("nucleus_data.runner.workers.connected", connected)
    # Other tests of this process may have started one.
    monkeypatch.setattr("nucleus_data.views.compare.is_initialized", lambda: False)


def test_what_is_wrong_is_told_before_ray_starts(ingested, world, without_ray):
    assert "widht" in nucleus("select", world.corpus, "select.rules.r=widht < 3", code=2)
    assert "widht" in nucleus("what-if", world.corpus, "rules.r=widht < 3", code=2)
    assert "Ray was started" in nucleus("inspect", f"corpus={ingested}", code=1)


@pytest.mark.slow
def test_looking_starts_no_ray(world, without_ray, tmp_path):
    what_if = ["what-if", "rules.too_small=least(width, height) < 100"]
    for command in (["status"], ["export", tmp_path / "k.csv"], ["pairs"], what_if):
        nucleus(*command, world.corpus)
    assert "60 already in the corpus, 0 new" in nucleus("ingest", world.corpus, world.source)


def test_the_right_order_is_told(ingested, without_ray):
    corpus = f"corpus={ingested}"
    assert "run: nucleus dedup corpus=" in nucleus("select", corpus, code=2)
    assert "run: nucleus select corpus=" in nucleus("shard", corpus, code=2)
    assert "run: nucleus select corpus=" in nucleus("caption", corpus, code=2)
    assert "run: nucleus select corpus=" in nucleus("export", "x.csv", corpus, code=2)
    assert "run: nucleus select corpus=" in nucleus("quick-train", corpus, code=2)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("inspect",), "error: corpus is not set; give corpus=PATH"),
        (("inspect", "corpus=absent"), "error: there is no corpus at 'absent'"),
        (("inspect", "corpus=c", "insect.max=3"), "insect is not a known key (override"),
        (("inspect", "corpus=c", "dedup.distance=x"), "dedup.distance: input should be a valid"),
        (("inspect", "corpus"), "'corpus' is not an override; write key.sub=value"),
        (("inspect", "--config", "absent.yaml", "corpus=c"), "no configuration file absent.yaml"),
        (("ingest", "corpus=c"), "error: ingest.source is not set"),
        (
            ("retry", "dedup", "corpus=c"),
            "cannot retry 'dedup'; allowed: ingest, inspect, embed, score, caption, score_captions",
        ),
        (("frobnicate",), "No such command 'frobnicate'"),
        (("inspect", "--limt", "3"), "No such option"),
    ],
)
def test_a_wrong_request_ends_with_2_and_one_message(arguments, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ray.init", None)  # nothing may be started
    said = nucleus(*arguments, code=2)
    assert reason in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ([], "ingest.source is not set"),
        (["ingest.source=absent/"], "no such file or folder"),
        (["ingest.source=file:///absent"], "no such file or folder"),
    ],
)
def test_an_ingest_whose_source_is_not_there_makes_no_corpus(source, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reason in nucleus("ingest", "corpus=c", *source, code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "files", [{}, {"notes.xyz": "no picture"}, {"list.csv": "caption\na list without URLs"}]
)
def test_what_an_ingest_that_took_nothing_leaves_is_not_curated(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").mkdir()
    put(tmp_path / "source", files)
    source = "source/list.csv" if "list.csv" in files else "source"
    nucleus("ingest", "corpus=c", f"ingest.source={source}", code=2)
    for command in (["curate"], ["curate", "--dry-run"], ["inspect"], ["retry", "inspect"]):
        said = nucleus(*command, "corpus=c", code=2)
        assert "corpus='c' has no records (nothing was ingested), so there is nothing for " in said
        assert "run: nucleus ingest corpus=c ingest.source=PATH" in said
    said = nucleus("status", "corpus=c")
    assert "nothing ingested yet; run: nucleus ingest corpus=c ingest.source=PATH" in said
    assert "nothing to retry" in nucleus("retry", "corpus=c")
    assert "inspect: nothing to retry" in nucleus("retry", "--dry-run", "corpus=c")


def test_what_is_claimed_and_not_built_is_told_instead_of_curated(tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny()})
    corpus = Corpus(str(tmp_path / "c"), create=True)
    plan_ingest(corpus, IngestSettings(source=str(source)))
    said = nucleus("curate", f"corpus={corpus.uri}", code=2)
    assert "has no records (1 claimed image shards are not ingested yet)" in said


def test_a_relative_corpus_inside_a_ray_job_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    said = nucleus("ingest", "corpus=c", "ingest.source=p", code=2)
    assert "error: corpus='c' is a relative path, which in a Ray job" in said
    assert list(tmp_path.iterdir()) == []


def test_the_status(world):
    content = json.loads(nucleus("status", "--json", world.corpus))
    assert (content["records"], content["shards"]) == (60, 3)
    assert content["tables"]["inspect.hash"]["rows"] == 60
    (states,) = content["selections"].values()
    assert sum(states.values()) == 60
    assert "60 records in 3 image shards" in nucleus("status", world.corpus)


@pytest.mark.slow
def test_what_a_line_left_out_was_not_forgotten(ingested):
    """Without a model there is nothing to embed; `status` is not asked without a model."""
    nucleus("curate", f"corpus={ingested}", "embed.model=null")
    said = nucleus("status", f"corpus={ingested}")
    assert "-curate: did inspect, dedup, compare, select" in said
    assert "not done:" not in said


def test_a_record_is_explained(world):
    rows = selection(world)
    key = next(file for file, entry in world.truth.items() if entry.fault == "tiny")
    said = nucleus("explain", rows[key]["id"][:12], world.corpus)
    assert f"key                    {key}" in said
    assert "too_small" in said
    story = json.loads(nucleus("explain", "--json", rows[key]["id"], world.corpus))
    assert story["record"]["key"] == key
    assert "no record has an id that begins with" in nucleus(
        "explain", "0" * 32, world.corpus, code=2
    )
    assert "no record has an id that begins with 'tiny'" in nucleus(
        "explain", "tiny", world.corpus, code=2
    )


def test_the_kept_records_are_exported(world, tmp_path):
    kept = {key for key, row in selection(world).items() if row["state"] == "kept"}
    said = nucleus("export", tmp_path / "k.parquet", world.corpus)
    assert f"{len(kept)} kept records" in said
    assert set(pq.read_table(tmp_path / "k.parquet").column("key").to_pylist()) == kept
    nucleus("export", tmp_path / "k.csv", world.corpus)
    with (tmp_path / "k.csv").open() as file:
        assert {row["key"] for row in csv.DictReader(file)} == kept
    said = nucleus("export", tmp_path / "k.json", world.corpus, code=2)
    assert "the path must end in .parquet or .csv" in said


def test_every_setting_is_listed_with_its_value(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text("shard: {samples_per_tar: 5}\nstorage_options: {secret: S3CR3T}")
    said = nucleus("config", "--config", file, "dedup.distance=2", "select.rules.r=width < 3")
    told = "Maximum samples per training shard. (default: 10000)"
    assert f"shard.samples_per_tar = 5\n    {told}" in said
    assert "dedup.distance = 2\n" in said
    assert '"width < 3"' in said
    assert "S3CR3T" not in said
    assert "is not a known key" in nucleus("config", "foo=1", code=2)


def test_help_names_every_command():
    said = nucleus("--help")
    for command in (*LINES, "demo", "retry", "status", "explain", "export", "config"):
        assert f"\n  {command} " in said
