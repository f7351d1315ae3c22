"""Names of the outside that a terminal would obey, through the commands; and a damaged shard."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nucleus_data.commands import cli
from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.hashing import record_id
from nucleus_data.views import compare
from nucleus_data.world.corpora import write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.looked_at import RULES

HOSTILE = "a\x1b]0;TITLE\x07\x1b[2J\nerror: no\u202egnp.b\x9b31m.png"
RAW = ("\x1b", "\x07", "\u202e", "\x9b", "\nerror: no")


@pytest.fixture
def corpus(tmp_path):
    """Hostile key, caption, table's name and training set's; pictures kept; one in two shards."""
    made = Corpus(str(tmp_path / "c"), create=True)
    write_shard(made, 0, {HOSTILE: picture(1), "b.png": picture(2)}, {HOSTILE: f"red {HOSTILE}"})
    write_shard(made, 1, {"c.png": picture(3)})
    rows = made.records.read(0, ("shard", "row", "id"))
    Table(made.store, "mine\x1b[2J", "aa").append(0, rows, {})
    made.store.create("sets/main\x1b[2J/aa/_plan/x", b"")
    return made


def nucleus(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(a) for a in arguments], color=True)
    assert result.exit_code == code, (result.output, result.exception)
    for raw in RAW:
        assert raw not in result.output, (arguments, raw)
    assert "b'" not in result.output
    return result


@pytest.mark.slow
def test_nothing_that_a_command_prints_moves_the_terminal(corpus, tmp_path):
    where = f"corpus={corpus.uri}"
    said = nucleus("status", where).output
    assert r"mine\x1b[2J" in said
    assert r"sets/main\x1b[2J/aa" in said
    ident = record_id("test", HOSTILE)
    said = nucleus("explain", ident, where).output
    assert r"a\x1b]0;TITLE\x07\x1b[2J\nerror: no\u202egnp.b\x9b31m.png" in said
    nucleus("explain", HOSTILE, where)
    nucleus("explain", f"x{HOSTILE}", where, code=2)
    nucleus("explain", ident, f"corpus={tmp_path}/c\x1b[2J", code=2)
    found = json.loads(nucleus("explain", "--json", ident, where).stdout)
    assert found["record"]["key"] == HOSTILE
    curated.run(corpus.uri, "curate", RULES).do("inspect", "dedup", "select")
    said = nucleus("explain", ident, where, RULES).output
    assert said.splitlines()[:2] == ["state", f"  {'state':<22} kept"]
    nucleus("export", tmp_path / f"absent/{HOSTILE}.csv", where, RULES, code=2)
    nucleus("export", tmp_path / "x\x1b[2J.csv", where, RULES)
    nucleus("diff", HOSTILE, HOSTILE, where, code=2)
    nucleus("status", "--json", where)


@pytest.mark.slow
def test_the_lines_of_failures_and_of_a_what_if_are_visible(corpus, capsys):
    name = corpus.records.read(0, ["file"])["file"][0].as_py()
    tar = Path(corpus.store.path("images/000000.tar"))
    tar.write_bytes(tar.read_bytes().replace(picture(1)[40:80], bytes(40)))
    said = []
    run = curated.run(corpus.uri, "inspect", RULES, said=said)
    run.do("inspect")
    assert any("shard 000000 failed" in line and name in line for line in said)
    assert len(run.failures) == 1
    assert all(raw not in line for raw in ("\x1b", "\n") for line in said)
    content = {"changed": 1, "records": 1, "otherwise": 0, "states": [], "changes": [], "rules": []}
    moves = {"records": 0, "reasons": []}
    source = dict.fromkeys(("records", "kept_before", "kept_after", "leaving", "entering"), 1)
    content |= {"leaving": moves, "entering": moves, "tiers": [], "buckets": []}
    content |= {"flags": [], "left_out": []}
    content |= {"sources": [{"source": HOSTILE, **source}], "page": HOSTILE}
    from nucleus_data.commands.looking import _show

    _show(content, compare.lines, False)
    out = capsys.readouterr().out
    assert all(raw not in out for raw in RAW)


def test_a_damaged_part_fails_its_shard_alone(corpus):
    part = Path(corpus.store.path(f"{corpus.records.folder}/000001-0.parquet"))
    whole = part.read_bytes()
    part.write_bytes(whole[:100])
    said = []
    run = curated.run(corpus.uri, "inspect", RULES, said=said)
    run.do("inspect")
    (failed,) = run.failures
    assert failed["shard"] == 1
    assert f"{part} cannot be read: it has 100 bytes" in failed["error"]
    assert any(str(part) in line for line in said)
    assert Table(corpus.store, "inspect.file", run.tables["inspect.file"]).shards() == [0]
    part.write_bytes(whole)
    again = curated.run(corpus.uri, "retry", RULES)
    again.retry("inspect")
    assert Table(corpus.store, "inspect.file", run.tables["inspect.file"]).shards() == [0, 1]


def test_a_limited_run_goes_past_a_damaged_part(corpus):
    part = Path(corpus.store.path(f"{corpus.records.folder}/000000-0.parquet"))
    part.write_bytes(b"")
    run = curated.run(corpus.uri, "inspect", RULES, limit=1)
    run.do("inspect")
    assert [f["shard"] for f in run.failures] == [0]
    assert Table(corpus.store, "inspect.file", run.tables["inspect.file"]).shards() == [1]


@pytest.mark.slow
def test_a_training_set_is_not_made_without_a_damaged_part(corpus):
    run = curated.run(corpus.uri, "curate", RULES)
    run.do("inspect", "dedup", "select")
    folder = f"tables/inspect.file/{run.tables['inspect.file']}"
    path = Path(corpus.store.path(f"{folder}/000001-0.parquet"))
    path.unlink()
    path.mkdir()
    for there, said in (("folder", "a folder is in its place"), (b"no Parquet", "10 bytes")):
        if there != "folder":
            path.rmdir()
            path.write_bytes(there)
        again = curated.run(corpus.uri, "shard", RULES)
        again.do("shard")
        assert f"{path} cannot be read: " in again.failures[0]["error"]
        assert said in again.failures[0]["error"]
        assert not corpus.store.exists(f"{again.training_set}/manifest.parquet")
