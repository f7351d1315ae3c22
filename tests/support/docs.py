"""Commands as README and docs have them, run as a reader would."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.commands import REPOSITORY, environment

DOCS = sorted([REPOSITORY / "README.md", *REPOSITORY.glob("nucleus_*/docs/*.md")])
# `sh cluster` needs GPUs or a cluster, `sh long` minutes or hours: these are run by hand.
SHELL = re.compile(r"^```sh(?P<mark>[^\n]*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
# Smaller than what a reader runs: fewer steps and pictures of the same line.
SMALLER = """
python() { "$PYTHON" "$@"; }
nucleus() {
  case "$1" in
    world) "$PYTHON" -m nucleus_data.commands "${@//10000/12}" ;;
    *) "$PYTHON" -m nucleus_data.commands "$@" quick_train.steps=4 quick_train.sample_steps=2 ;;
  esac
}
source() { :; }
"""


def shell_blocks() -> list[tuple[Path, str, str]]:
    """Document, mark and code of each block of shell commands."""
    return [
        (doc, found["mark"].strip(), found["code"])
        for doc in DOCS
        for found in SHELL.finditer(doc.read_text())
    ]


def block(containing: str) -> str:
    """The one unmarked block with a text in it."""
    (found,) = (code for _, mark, code in shell_blocks() if not mark and containing in code)
    return found


def run_block(code: str, folder: Path, seconds: int = 600) -> str:
    """Runs a block in a folder that looks like a clone; returns what it printed."""
    for name in ("scripts", "configs", "pipelines"):
        if not (folder / name).exists():
            (folder / name).symlink_to(REPOSITORY / name)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", SMALLER + code],
        cwd=folder,
        env={**environment(), "PYTHON": sys.executable, "HOME": os.environ.get("HOME", "/")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}"
    return done.stdout
