"""Told commands: what a message says to run works when it is pasted into a shell."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from nucleus_data.commands import cli
from nucleus_data.corpus import Corpus, told
from nucleus_data.corpus.damaged import advice_on
from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import load_recipe
from nucleus_data.world.corpora import write_shard
from tests.support.command import work_here
from tests.support.curated import NANO, picture

RULE = "rules.no quote=format = 'png' AND width < 3"
# Words of nucleus, up to a line's end: what follows a command says nothing more on its line.
TOLD = re.compile(r"nucleus [a-z-]+ .*?corpus=[^\n]*")


@pytest.fixture(autouse=True)
def inline(monkeypatch):
    work_here(monkeypatch)


@pytest.fixture
def corpus(tmp_path):
    """A corpus whose path needs quotes, as the configuration's does."""
    made = Corpus(str(tmp_path / "it's $HOME"), create=True)
    write_shard(made, 0, {"a.png": picture(1), "b.png": picture(2)})
    return made


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "my own.yaml"
    path.write_text(f"base: {NANO}\nselect: {{rules: {{blank: null}}}}\n")
    return path


def nucleus(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == code, (arguments, result.output, result.exception)
    return result.output


def pasted(said):
    """The told commands of an output, as a shell splits them."""
    found = [shlex.split(line) for line in TOLD.findall(said)]
    assert all(words[0] == "nucleus" for words in found)
    return [words[1:] for words in found]


@pytest.mark.slow
def test_each_told_command_works_when_it_is_pasted(corpus, config, tmp_path):
    asked = [f"corpus={corpus.uri}", "--config", config, RULE, "dedup.distance=3"]
    first, done = ["shard", "--dry-run", *map(str, asked)], []
    waiting = [first]
    while waiting:
        result = CliRunner().invoke(cli, waiting[-1])
        if result.exit_code == 0:
            done.append(waiting.pop()[0])
            continue
        assert result.exit_code == 2, (waiting[-1], result.output, result.exception)
        (words,) = pasted(result.output)
        waiting.append(words)
        assert len(done) + len(waiting) < 12, (done, waiting)
    # Each was done with this configuration and rule, else the next would not have found it.
    assert done == ["dedup", "select", "inspect", "dedup", "select", "shard"]


@pytest.mark.slow
def test_a_command_is_quoted_and_has_the_configuration_and_the_overrides(corpus, config):
    load_recipe(config, [f"corpus={corpus.uri}", RULE, "storage_options.secret=S3CR3T"])
    words = shlex.split(told.command("retry caption", corpus.uri, options=" --limit 5"))
    assert words == [
        *("nucleus", "retry", "caption", f"corpus={corpus.uri}", "--config", str(config)),
        *(RULE, "storage_options.secret=...", "--limit", "5"),
    ]
    other = shlex.split(told.command("inspect", "other", like=corpus.uri))
    assert other[2:5] == ["corpus=other", "--config", str(config)]
    assert told.command("select", "nobody asked") == "nucleus select corpus='nobody asked'"
    again = told.command("ingest", corpus.uri, "storage_options.secret=x")
    assert again.count("secret") == 1
    load_recipe(config, [f"corpus={corpus.uri}", "ingest.storage_options={secret: S3CR3T}"])
    assert "S3CR3T" not in told.command("select", corpus.uri)


def test_the_default_configuration_is_not_named(corpus):
    nucleus("status", f"corpus={corpus.uri}", "dedup.distance=3")
    words = shlex.split(told.command("select", corpus.uri))
    assert words == ["nucleus", "select", f"corpus={corpus.uri}", "dedup.distance=3"]


def test_a_missing_corpus_is_made_by_what_is_told(config, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a.png").write_bytes(picture(1))
    new, source = f"corpus={tmp_path}/new one", f"ingest.source={tmp_path}/p"
    (words,) = pasted(nucleus("inspect", new, "--config", config, code=2))
    assert words[-1] == "ingest.source=PATH"
    (words,) = pasted(nucleus("inspect", new, "--config", config, source, code=2))
    nucleus(*words)
    assert "1 record in 1 image shard" in nucleus("status", new)


def test_advice_on_damaged_files_names_the_configuration(corpus, config):
    load_recipe(config, [f"corpus={corpus.uri}", "ingest.source=p q"])
    for name in (
        "tables/inspect.tone/aa/000001-0.parquet",
        "tables/selection/aa/_published.json",
        "tables/records/aa/000001-0.parquet",
        "sets/main/aa/manifest.parquet",
        "corpus.json",
    ):
        (words,) = pasted(advice_on(corpus.store, name))
        assert words[1:4] == [f"corpus={corpus.uri}", "--config", str(config)]
        assert "ingest.source=p q" in words


def test_a_worker_knows_what_the_driver_was_asked(corpus, config):
    load_recipe(config, [f"corpus={corpus.uri}"])
    known = told.remembered()
    told.adopt({name: told.Asked() for name in known})
    assert "--config" not in told.command("select", corpus.uri)
    told.adopt(known)
    assert "--config" in told.command("select", corpus.uri)


@pytest.mark.slow
def test_another_corpus_is_measured_as_this_one(corpus, config, tmp_path):
    other = Corpus(str(tmp_path / "other"), create=True)
    write_shard(other, 0, {"c.png": picture(3)})
    asked = [f"corpus={corpus.uri}", "--config", config, f"dedup.against={{old: {other.uri}}}"]
    nucleus("inspect", *asked)
    (words,) = pasted(nucleus("dedup", *asked, code=2))
    nucleus(*words)
    nucleus("dedup", *asked)


@pytest.mark.slow
def test_one_spelling_of_rules_works_in_each_command(corpus):
    where = [f"corpus={corpus.uri}", "embed.model=null", "score.heads=null"]
    nucleus("curate", *where)
    for key in ("rules.wide", "select.rules.wide"):
        said = nucleus("curate", *where, f"{key}=width > 9")
        assert "  wide: 2\n" in said
        said = nucleus("what-if", *where, f"{key}=width > 9")
        assert "  rejected: wide        2\n" in said
    assert load_recipe(NANO, ["prefer=[bytes]"]) == load_recipe(NANO, ["select.prefer=[bytes]"])
    said = nucleus("export", corpus.store.path("x.csv"), *where)
    assert f"-curate: {told.command('curate', corpus.uri)}\n" in said


@pytest.mark.parametrize(
    ("override", "right"),
    [("distance=3", "dedup.distance"), ("source=p", "ingest.source"), ("rule=3", None)],
)
def test_a_key_of_a_section_is_told_with_its_section(override, right):
    with pytest.raises(RequestError) as caught:
        load_recipe(NANO, [override])
    assert (f"Did you mean '{right}'?" in str(caught.value)) == bool(right)


def test_rules_in_a_file_are_told_to_be_those_of_select(tmp_path):
    file = Path(tmp_path / "r.yaml")
    file.write_text("rules: {a: width < 3}")
    with pytest.raises(RequestError, match=r"rules is not a known key .*'select.rules'"):
        load_recipe(file)
