"""The call from Python, as the documentation has it."""

import contextlib
import io
import re
from pathlib import Path

import pytest

import nucleus_model
from nucleus_model.settings import verdict as settings_module
from nucleus_model.training.verdict import call
from nucleus_model.training.verdict.call import arm_of, split_edition
from nucleus_model.training.verdict.loops import one_by_one
from tests.support.model import colored_items, write_set

DOC = Path(__file__).resolve().parents[4] / "nucleus_data/docs/verdict.md"


def test_an_edition_is_what_follows_the_last_at_sign():
    assert split_edition("c/sets/a/1@short") == ("c/sets/a/1", "short")
    assert split_edition("s3://key@host/sets/a") == ("s3://key@host/sets/a", None)
    assert split_edition("@short") == ("", "short")
    assert split_edition("a@") == ("a@", None)
    assert (arm_of("a@b").name, arm_of("a@b").edition) == ("a", "b")


def test_it_is_a_name_of_the_package():
    assert nucleus_model.verdict is call.verdict
    assert {"verdict", "VerdictSettings"} <= {*nucleus_model.__all__}


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 7
    few = {**settings_module.FIXED["debug"], "steps": 2}
    monkeypatch.setitem(settings_module.FIXED, "debug", few)
    # In processes of their own the runs would take the preset's 40 steps.
    monkeypatch.setattr(call, "processes", lambda: one_by_one)
    items = colored_items(48)
    write_set(tmp_path / "corpus/sets/train/1f2e3d4c5b6a7988", items)
    write_set(tmp_path / "corpus/sets/train/20c1d2e3f4a5b6c7", items[6:])
    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(io.StringIO()) as shown:
        exec(compile(code, str(DOC), "exec"), {"__name__": "__main__"})
    assert "3 seeds" in shown.getvalue()
    assert "memorised" in shown.getvalue()
    assert (tmp_path / "verdict/verdict.json").is_file()
