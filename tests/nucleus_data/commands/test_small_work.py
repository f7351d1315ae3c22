"""What a command loads and starts: neither Ray, torch nor numba to look; no Ray for small work."""

import json
import shutil
import subprocess
import sys

import pytest

from nucleus_data.world import render, scene
from tests.support.command import nucleus
from tests.support.commands import environment, tree
from tests.support.worlds import write_pictures

# Runs commands in one process; prints their exit codes, and which heavy packages it has then.
SCRIPT = """
import json, sys
from click.testing import CliRunner
from nucleus_data.commands import cli

codes = []
for command in json.loads(sys.argv[1]):
    result = CliRunner().invoke(cli, command)
    codes.append(result.exit_code)
heavy = [name for name in ("ray", "torch", "numba", "transformers", "vllm") if name in sys.modules]
print(json.dumps([codes, heavy, result.output]))
"""
SIGNALS = "inspect.signals=[file,hash]"
RULES = "select.rules={small: width < 3}"
PREFER = "select.prefer=[width desc]"


def commands(*wanted, cwd):
    """Exit codes, heavy packages that were loaded, and the last command's output."""
    lines = [[str(word) for word in line] for line in wanted]
    env = {k: v for k, v in environment().items() if k != "RAY_ADDRESS"}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(lines)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.slow
def test_looking_and_eight_pictures_load_nothing_heavy(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        render(scene(0, number), 64, 48).save(tmp_path / f"pictures/{number}.png")
    codes, heavy, said = commands(
        ["ingest", "corpus=c", "ingest.source=pictures"],
        ["status", "corpus=c"],
        ["statsu"],
        ["status", "corpus=c", "dedup.distnace=3"],
        ["explain", "0.png", "corpus=c"],
        ["inspect", "corpus=c", SIGNALS],
        ["select", "corpus=c", "select.rules.r=widht < 3"],
        ["ingest", "corpus=c", "ingest.source=pictures"],
        cwd=tmp_path,
    )
    assert codes[:4] == [0, 0, 2, 2]
    assert codes[5:] == [0, 2, 0]
    assert heavy == []
    assert "8 rows found, 8 already in the corpus, 0 new" in said


LINE = ("inspect", "dedup", "select")


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_small_work_has_the_bytes_that_ray_makes(tmp_path):
    write_pictures(tmp_path / "pictures", 40, 1)
    options = [SIGNALS, RULES, PREFER, "ingest.images_per_shard=15"]
    first = [["ingest", "corpus=here", "ingest.source=pictures", *options]]
    curate = [[name, "corpus=here", *options] for name in LINE]
    codes, heavy, said = commands(*first, cwd=tmp_path)
    assert (codes, heavy) == ([0], [])
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    codes, heavy, said = commands(*curate, cwd=tmp_path)
    assert codes == [0, 0, 0], said
    assert not {"ray", "torch"} & set(heavy)
    corpus = f"corpus={tmp_path / 'there'}"
    for name in LINE:  # this process is connected to Ray, which then does all work
        nucleus(name, corpus, *options)
    nucleus(
        "ingest", f"corpus={tmp_path / 'ray'}", f"ingest.source={tmp_path / 'pictures'}", *options
    )
    assert tree(tmp_path / "here/tables") == tree(tmp_path / "there/tables")
    assert tree(tmp_path / "here/images") == tree(tmp_path / "ray/images")
