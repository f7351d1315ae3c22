from contextlib import nullcontext

import click
import pytest
from click.testing import CliRunner

from nucleus_data.commands import cli
from nucleus_data.line.lines import LINES
from nucleus_data.world.corpora import small_corpus


def test_there_is_a_command_for_each_line_and_each_module():
    said = CliRunner().invoke(cli, ["--help"]).output
    for name in (*LINES, "status", "what-if", "demo", "world", "merge", "export-model", "retry"):
        assert f"\n  {name} " in said


def test_an_unknown_command_is_refused():
    assert CliRunner().invoke(cli, ["inspekt"]).exit_code == 2


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_embed_without_a_model_says_what_to_give(tmp_path, monkeypatch, options):
    monkeypatch.setattr("nucleus_data.runner.workers.connected", lambda _: nullcontext())
    corpus = small_corpus(tmp_path / "c", shards=1).uri
    command = ["embed", *options, f"corpus={corpus}", "embed.model=null", "score.heads=null"]
    found = CliRunner().invoke(cli, command)
    assert found.exit_code == 2
    assert "embed.model is not set; set it to nano, a folder" in found.output


def test_the_help_of_the_demo_names_its_own_configuration():
    said = CliRunner().invoke(cli, ["demo", "--help"]).output
    assert "configs/nano/demo.yaml" in said
    assert "configs/nano/recipe.yaml" not in said
    assert "configs/nano/recipe.yaml" in CliRunner().invoke(cli, ["curate", "--help"]).output


def test_settings_are_listed_in_the_words_of_yaml():
    said = CliRunner().invoke(cli, ["config"]).output
    assert "(default: null)" in said
    assert "default: None" not in said
    assert "default: True" not in said
    assert "default: ('" not in said


def test_commands_of_a_group_are_its_own_and_end_as_others(tmp_path):
    said = CliRunner().invoke(cli, ["--help"]).output
    assert "\n  captions " in said
    assert "\n  list " not in said
    assert "Compare two selections" in CliRunner().invoke(cli, ["diff", "--help"]).output
    assert "--debug" in CliRunner().invoke(cli, ["captions", "list", "--help"]).output
    found = CliRunner().invoke(cli, ["captions", "list", f"corpus={tmp_path / 'none'}"])
    assert found.exit_code == 2
    assert "error: there is no corpus" in found.output


def parameters(group, path=()):
    """Command line so far, and parameter, of all commands."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, click.Group):
            yield from parameters(command, (*path, name))
        else:
            yield from (((*path, name), parameter) for parameter in command.params)


def test_a_path_on_this_machine_is_no_url(tmp_path, monkeypatch):
    """Of a URL, a local folder called `s3:` was made, and nothing was where it was looked for."""
    monkeypatch.chdir(tmp_path)
    paths = [(line, p) for line, p in parameters(cli) if isinstance(p.type, click.Path)]
    assert len(paths) > 20
    for line, parameter in paths:
        for given in ("s3://bucket/folder", "file:///tmp/x", ""):
            with pytest.raises(click.BadParameter) as told:
                parameter.type.convert(given, parameter, None)
            assert "give a path on this machine" in str(told.value), (line, parameter.name)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_not_merged_into_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    found = CliRunner().invoke(cli, ["merge", "a", "--out", "s3://bucket/x"])
    assert found.exit_code == 2
    assert "'s3://bucket/x' is a URL; give a path on this machine" in found.output
