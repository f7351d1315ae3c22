"""`nucleus captions list`, `import` and `diff` as commands, and what the list says."""

import json

import pytest

from nucleus_data.views.captions_list import caption_sets, lines
from nucleus_data.views.explain import explain, explain_lines
from nucleus_data.views.status import status
from tests.support import curated
from tests.support.captioned_sets import OLD, SETTINGS, captioned_sets
from tests.support.command import nucleus
from tests.support.reported import Text


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    corpus, run = captioned_sets(tmp_path_factory.mktemp("sets"))
    sharded = curated.run(
        corpus.uri, "shard", *SETTINGS, "shard.captions=[source, alt, short@0123456789]"
    )
    sharded.do("shard")
    corpus.set = sharded
    # Pins a set, and writes none.
    other = ("shard.captions=[short]", "shard.quality=80")
    curated.run(corpus.uri, "report", *SETTINGS, *other).do("report")
    return corpus, run


@pytest.mark.slow
def test_all_sets_are_listed_with_who_uses_them(made):
    corpus, run = made
    content = caption_sets(curated.run(corpus.uri, "list", *SETTINGS, dry_run=True).run)
    now, alt = run.tables["caption.short"], run.alt["config_hash"]
    assert [s["name"] for s in content["sets"]] == [
        f"short@{now[:8]}",
        f"short@{OLD[:8]}",
        f"alt@{alt[:8]}",
    ]
    current, old, imported = content["sets"]
    assert (current["recipe"], old["recipe"], imported["recipe"]) == (True, False, False)
    assert (current["captions"], current["failed"]) == (7, 1)
    assert (old["captions"], old["failed"], old["prompt"]) == (8, 0, "short")
    assert (imported["captions"], imported["imported"], imported["model"]) == (8, True, None)
    assert old["sets"] == imported["sets"] == [corpus.set.training_set]
    assert current["sets"] == []
    assert (old["runs"], old["last_run"]) == (1, corpus.set.name)
    assert content["not_made"] == ["long"]
    assert content["source"]["captions"] == 8
    said = "\n".join(lines(content))
    assert f"short@{OLD[:8]} (older): 8 captions, 0 failed" in said
    assert f"alt@{alt[:8]} (imported)" in said
    assert "not made yet: long" in said


@pytest.mark.slow
def test_a_set_is_read_by_its_name(made):
    corpus, _ = made
    rows = corpus.table("caption.short@01234567").project("caption").fetchall()
    assert sorted(text for (text,) in rows) == [f"old {n}" for n in range(8)]
    assert corpus.table("caption.alt").count("*").fetchall() == [(8,)]


@pytest.mark.slow
def test_the_status_calls_an_import_one(made):
    corpus, run = made
    looking = curated.run(corpus.uri, "status", *SETTINGS, dry_run=True)
    notes = {
        t["config_hash"]: t["note"] for t in status(looking.run, looking.stages)["other_tables"]
    }
    assert notes[run.alt["config_hash"]] == "imported"
    assert notes[OLD] == "of another configuration"


@pytest.mark.slow
def test_explain_names_each_set(made):
    corpus, run = made
    ident = sorted(i for (i,) in corpus.table("records").project("id").fetchall())[0]
    story = explain(corpus, ident)
    now, alt = run.tables["caption.short"][:8], run.alt["config_hash"][:8]
    number = story["record"]["key"][0]
    assert story["captions"] == {
        "source": f"web {number}",
        f"alt@{alt}": f"other {number}",
        f"short@{OLD[:8]}": f"old {number}",
        f"short@{now}": "(none: caption_empty)",
    }
    said = [line.split() for line in explain_lines(story)]
    assert [f"short@{OLD[:8]}", "old", number] in said


@pytest.mark.slow
def test_the_commands_do_it(made, tmp_path):
    corpus, _ = made
    given = [f"corpus={corpus.uri}", *SETTINGS]
    assert "(imported)" in nucleus("captions", "list", *given)
    keys = [key for (key,) in corpus.table("records").project("key").order("key").fetchall()]
    (tmp_path / "x.csv").write_text(
        "file_name,text\n" + "".join(f"./{key},a <b>{key}</b>\n" for key in keys) + "gone.png,x\n"
    )
    command = ["captions", "import", tmp_path / "x.csv", "--as", "stamps", "--model", "m"]
    said = nucleus(*command, "--dry-run", *given)
    assert "stamps@" in said
    assert "would be made" in said
    assert not corpus.store.exists("tables/caption.stamps")
    content = json.loads(nucleus(*command, "--json", *given).splitlines()[-1])
    assert content["states"]["matched"]["rows"] == 8
    assert content["states"]["unmatched"]["examples"][0]["name"] == "gone.png"
    command = ["captions", "import", tmp_path / "x.csv", "--as", "short", *given]
    assert "the recipe has a variant with this name" in nucleus(*command, code=2)
    page = tmp_path / "page.html"
    said = nucleus("captions", "diff", "stamps", "source", "--page", page, *given)
    assert said.strip().splitlines()[-1] == str(page)
    assert "<b>0.png</b>" in Text(page.read_text()).text.replace(" ", "")
    assert "are the same captions" in nucleus("captions", "diff", "alt", "alt", *given, code=2)
    assert "neither a caption variant" in nucleus("captions", "diff", "alt", "nope", *given, code=2)
