"""README and docs: links lead somewhere, code is code, and commands are commands."""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from nucleus_data.commands import cli
from nucleus_data.line.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted(
    [ROOT / "README.md", *ROOT.glob("nucleus_*/docs/*.md"), *ROOT.glob("nucleus_*/docs/*.txt")]
)
MOST_LINES = 150
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)(?: (?:cluster|long))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
RECIPES = {"": ROOT / "configs/nano/recipe.yaml"}


def fences(language):
    """(document, code) of each fenced block."""
    return [
        pytest.param(doc, code, id=f"{doc.name}-{number}")
        for doc in DOCS
        for number, (kind, code) in enumerate(FENCE.findall(doc.read_text()))
        if kind == language
    ]


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)
def test_links_lead_somewhere(doc):
    for link in LINK.findall(doc.read_text()):
        if not link.startswith(("http:", "https:", "#")):
            assert (doc.parent / link.split("#")[0]).exists(), link


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)
def test_code_is_fenced(doc):
    outside = FENCE.sub("", doc.read_text())
    assert "```" not in outside
    assert not re.findall(r"\n\n    \S", outside), "an indented block; fence it"


@pytest.mark.parametrize(("doc", "code"), fences("python"))
def test_python_compiles(doc, code):
    compile(code, str(doc), "exec")


@pytest.mark.parametrize(("doc", "code"), fences("yaml"))
def test_yaml_parses(doc, code):
    assert yaml.safe_load(code)


@pytest.mark.parametrize(("doc", "code"), fences("sh"))
def test_commands_and_their_settings_are_known(doc, code):
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if "/" in words[0] and not words[0].startswith("/"):
            assert (ROOT / words[0]).is_file() or words[0].startswith(".venv"), words[0]
        if words[0] == "nucleus" and "$" not in words[1]:
            known(words[1], words[2:])


def known(name, arguments):
    """A `nucleus` command parses, and the recipe knows its overrides."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, name
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    given = [a.replace("CHECKPOINT", str(ROOT)) for a in arguments]
    command.make_parser(click.Context(command)).parse_args(given)
    if name in ("sample", "merge", "export-model", "world"):
        return
    spelled = [f"select.{o}" if o.startswith("rules.") else o for o in overrides]
    load_recipe(RECIPES[""], [o for o in spelled if not o.startswith("inspect.signals=[...")])
