"""How commands end: one line and an exit code, never a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nucleus_data.commands import cli
from nucleus_data.commands.ending import with_endings
from nucleus_data.runner.actor import SetupFailedError
from nucleus_data.world.corpora import small_corpus
from tests.support.command import nucleus
from tests.support.commands import environment, start
from tests.support.quick import quick

ROOT = Path(__file__).resolve().parents[3]
FULL = ROOT / "configs/full/recipe.yaml"
NOBODY = 65534
DEEP = 3000
FILES = {
    "deep.yaml": "a: " + "[" * DEEP + "]" * DEEP,
    "braces.yaml": "a: " + "{a: " * DEEP,
    "twice.yaml": "dedup:\n  distance: 1\n  distance: 2\n",
    "latin.yaml": "corpus: é".encode("latin-1"),
    "list.yaml": "- a\n",
    "tab.yaml": "a:\n\tb: 1\n",
    "control.yaml": "a: \x01",
    "two.yaml": "corpus: a\n---\ncorpus: b\n",
    "date.yaml": "corpus: 2024-99-99\n",
    "tag.yaml": "corpus: !!python/object/apply:os.system [ls]\n",
    "based.yaml": "base: deep.yaml\n",
    "loop.yaml": "base: loop.yaml\n",
    "file": "x",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of odd files, and a corpus."""
    folder = tmp_path_factory.mktemp("odd")
    for name, content in FILES.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    (folder / "folder").mkdir()
    small_corpus(folder / "corpus", shards=1)
    return folder


ON_FILES = [
    ("status --config folder", "folder can't be read: is a directory; give a YAML file"),
    ("config --config file/x.yaml", "file/x.yaml can't be read: not a directory"),
    ("check --config absent.yaml", "there is no configuration file absent.yaml"),
    ("status --config deep.yaml", "deep.yaml is not valid YAML: brackets or indents are nested"),
    ("status --config braces.yaml", "braces.yaml is not valid YAML: brackets or indents are nest"),
    ("status --config based.yaml", "deep.yaml is not valid YAML: brackets or indents are nested"),
    ("status --config loop.yaml", "base: loop.yaml is based on itself"),
    ("status --config twice.yaml", "the key 'distance' appears twice; keep one, in line 3, col"),
    ("status --config latin.yaml", "latin.yaml is not UTF-8 text (byte 8); save it as UTF-8"),
    ("status --config list.yaml", "list.yaml must contain keys and values, but it contains a list"),
    ("status --config tab.yaml", "cannot start any token, in line 2, column 1"),
    ("status --config control.yaml", "control.yaml is not valid YAML: unacceptable character"),
    ("status --config two.yaml", "two.yaml is not valid YAML: but found another document, in line"),
    ("status --config date.yaml", "date.yaml is not valid YAML: month must be in 1..12"),
    ("status --config tag.yaml", "could not determine a constructor for the tag"),
    (f"status x={'[' * DEEP}", "override x=...: brackets or indents are nested too deeply"),
    ("status corpus=/etc/passwd", "corpus='/etc/passwd' can't be opened: not a directory"),
    ("ingest corpus=file ingest.source=folder", "corpus='file' can't be opened: not a directory"),
    ("ingest corpus=file/c ingest.source=folder", "corpus='file/c' can't be opened: not a direct"),
    ("ingest corpus=/proc/nucleus ingest.source=folder", "/proc/nucleus/claims/probe can't be wr"),
    ("status corpus=a\0b", "cannot open 'a\\x00b': it contains a null character"),
    (f"status corpus={'x' * 5000}", "x...' can't be opened: file name too long"),
    (
        "status corpus=s3://a$b/c",
        "cannot open 's3://a$b/c': 'a$b' is not a bucket name. Allowed: s3",
    ),
    ("status corpus=github://a/b", "cannot open 'github://a/b': TypeError: "),
    ("status corpus=hf://a", "cannot open 'hf://a': the repository is missing. Allowed: hf"),
    ("ingest corpus=new ingest.source=s3://", "cannot open 's3://': the bucket is missing"),
    ("ingest corpus=new ingest.source=hf://a/*.tar", "cannot open 'hf://a': the repository is"),
    ("export s3://a$b/c corpus=corpus --as parquet", "'a$b' is not a bucket name"),
    ("verify s3://a$b/c corpus=corpus", "'a$b' is not a bucket name"),
    ("captions import s3://a$b/c corpus=corpus --as x", "'a$b' is not a bucket name"),
    ("verdict s3://a$b/c corpus", "'a$b' is not a bucket name"),
    ("embed corpus=corpus embed.model=s3://a/b", "embed.model: s3://a/b is not a folder; allowed"),
    ("status corpus=nowhere://a", "cannot open 'nowhere://a': Protocol not known: nowhere"),
    ("ingest corpus=new ingest.source=absent", "ingest.source='absent': no such file"),
    ("ingest corpus=new ingest.source=file", "cannot tell what 'file' is"),
    ("export absent/x.csv corpus=corpus", "run: nucleus select"),
    ("sample folder red", "folder is neither a checkpoint"),
    ("export-model folder out", "folder is not a checkpoint"),
    ("inspect corpus=corpus resources.inspect.num_cpus=9999", "inspect asks for more than this m"),
    ("inspect corpus=corpus resources.inspect.num_gpus=99", "resources.inspect.num_gpus=99, but"),
    (
        "curate corpus=corpus select.rules.r=widht<3",
        "reads 'widht', which is not in any table. Did you",
    ),
    ("recaption corpus=corpus shard.captions=[longest]", "shard.captions names 'longest', which"),
    ("caption corpus=corpus caption.engine=vllm", "vllm"),
    (f"all --config {FULL} corpus=new ingest.source=folder", "embed asks for more than this mach"),
]


@pytest.mark.parametrize(("line", "said"), ON_FILES)
def test_what_is_wrong_is_a_line_and_exit_code_2(line, said, folder, monkeypatch):
    if "vllm" in line:
        monkeypatch.setattr("importlib.util.find_spec", without("vllm"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr("ray.init", None)  # nothing may be started
    output = nucleus(*line.split(" "), code=2)
    assert said in output
    assert "Traceback" not in output
    assert len(output.strip().splitlines()) <= 2  # the run's own line may stand above


def without(*packages):
    """`find_spec` on a machine that lacks some packages."""
    from importlib.util import find_spec

    return lambda name, *rest: None if name in packages else find_spec(name, *rest)


def test_a_hub_model_that_can_not_be_fetched_is_told(folder, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.chdir(folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = ("caption.model=nobody/nothing", "caption.revision=main")
    output = nucleus("caption", "corpus=corpus", *model, code=2)
    assert "caption.model: the hub model 'nobody/nothing' (revision main) is not in this" in output
    assert "HF_HOME" in output
    assert len(output.strip().splitlines()) == 1


def test_a_corpus_that_may_not_be_written_to_is_told(tmp_path_factory, monkeypatch):
    place = tmp_path_factory.getbasetemp()
    corpus = place / "sealed"
    small_corpus(corpus, shards=1)
    for path in [*corpus.rglob("*"), corpus]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    monkeypatch.chdir("/")
    opened = [p for p in (corpus, *corpus.parents) if p.stat().st_mode & 0o055 != 0o055]
    for path in opened:
        path.chmod(path.stat().st_mode | 0o055)
    was = os.geteuid()
    try:
        if not was:
            os.seteuid(NOBODY)
        output = nucleus("inspect", f"corpus={corpus}", code=2)
        unreadable = nucleus("status", "--config", "/etc/shadow", code=2) if not was else ""
    finally:
        if not was:
            os.seteuid(was)
    assert "can't be written: permission denied. It must be in a folder that" in output
    assert was or "/etc/shadow can't be read: permission denied" in unreadable


RAISED = [
    (OSError(28, "No space left on device", "/tmp/x"), "error: /tmp/x: no space left on device", 1),
    (ModuleNotFoundError("no", name="diffusers.x"), "pip install 'nucleus-data[train]'", 1),
    (MemoryError("of 3 GB"), "error: out of memory (of 3 GB)", 1),
    (SetupFailedError("the model is not there", "Traceback"), "error: the model is not there", 1),
    (ZeroDivisionError("one\ntwo"), "error: ZeroDivisionError: one (unexpected error; --debug", 1),
    (RecursionError(), "error: RecursionError:", 1),
    (
        KeyboardInterrupt(),
        "stopped; all committed work is kept. Run the same command again to continue",
        130,
    ),
]


@pytest.mark.parametrize(("error", "said", "code"), RAISED, ids=lambda v: type(v).__name__)
def test_whatever_is_raised_is_a_line_and_debug_shows_where(error, said, code):
    @click.command()
    def fails():
        raise error

    command = with_endings(fails)
    result = CliRunner().invoke(command, [])
    assert (result.exit_code, "Traceback" in result.output) == (code, False)
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert "in fails\n    raise error" in CliRunner().invoke(command, ["--debug"]).output


def test_debug_shows_where_a_worker_raised():
    @click.command()
    def fails():
        try:
            {}["gone"]
        except KeyError as error:
            raise SetupFailedError.of("caption", error) from None

    said = CliRunner().invoke(with_endings(fails), []).output
    assert said == "error: caption can't be set up: KeyError: 'gone' (--debug shows where)\n"
    assert '{}["gone"]' in CliRunner().invoke(with_endings(fails), ["--debug"]).output


def test_every_command_has_debug(monkeypatch, folder):
    found = {name: cli.get_command(click.Context(cli), name) for name in cli.list_commands(None)}
    for group in [each for each in found.values() if isinstance(each, click.Group)]:
        found |= {f"{group.name} {name}": each for name, each in group.commands.items()}
    for name, command in found.items():
        assert isinstance(command, click.Group) or ["--debug"] in [
            o.opts for o in command.params
        ], name
    monkeypatch.chdir(folder)
    for arguments in (("--debug", "status"), ("status", "--debug")):
        assert "raise RequestError" in nucleus(*arguments, "corpus=absent", code=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), quick([(signal.SIGINT, 130), (signal.SIGTERM, 143)], 1, 2)
)
def test_a_command_that_is_stopped_says_so(number, code, tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=8)
    log = tmp_path / "log.txt"
    slow = "inspect.signals=[file,tests.support.slow_signal]"
    process = start("inspect", f"corpus={corpus.uri}", slow, log=log)
    deadline = time.monotonic() + 60
    while "; run " not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    said = log.read_text()
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("stopped; all committed work is kept")


@pytest.mark.slow
def test_output_that_nobody_takes_ends_without_a_traceback(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    command = [sys.executable, "-m", "nucleus_data.commands", "status", f"corpus={corpus.uri}"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=environment(), text=True, check=False
        )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("key", ["corpus", "ingest.source"])
def test_a_path_that_is_no_utf_8_is_refused_before_anything_is_made(key, tmp_path, monkeypatch):
    """A corpus there was made and measured, and then called damaged: its tables, to be removed."""
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"odd\xff")
    (tmp_path / odd).mkdir()
    (tmp_path / "c").mkdir()
    given = {"corpus": "c", "ingest.source": "c"} | {key: odd}
    said = nucleus("ingest", *(f"{name}={value}" for name, value in given.items()), code=2)
    assert (
        "its path is not UTF-8 text. Rename it, or create a link to it under another name" in said
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
