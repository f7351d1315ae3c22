"""What `pip install nucleus-data` gives: from ingest to report without torch, from any folder."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.support.wheel import build_wheel, fresh_environment
from tests.support.worlds import write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# All that works without torch.
LINE = ("ingest", "inspect", "dedup", "compare", "select", "shard", "report")
OWN = f"""from nucleus_data.commands import run_pipeline

if __name__ == "__main__":
    run_pipeline("curation", {LINE})
"""
# In one process, as each would import the same: exit code and output of each.
ASK = """import json, sys
from click.testing import CliRunner
from nucleus_data.commands import cli
found = []
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(cli, words)
    fault = None if isinstance(done.exception, SystemExit) else repr(done.exception)
    found.append([done.exit_code, done.output, fault if done.exception else None])
print(json.dumps([found, sorted({"torch", "ray", "transformers"} & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    return fresh_environment(tmp_path_factory.mktemp("fresh") / "env", wheel)


def run(python: Path, folder: Path, *arguments: str, code: int = 0) -> str:
    """Runs the fresh environment's Python in a folder; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [python, *arguments],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def test_the_wheel_puts_two_packages_into_site_packages(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "nucleus_data",
        "nucleus_model",
    }
    assert {
        "nucleus_data/configs/nano/recipe.yaml",
        "nucleus_data/configs/full/recipe.yaml",
        "nucleus_data/pipelines/all.py",
        "nucleus_data/stages/caption/prompts/attributes@1.json",
        "nucleus_data/stages/caption/prompts/short@1.txt",
    } <= names


@pytest.fixture(scope="module")
def curated(python, tmp_path_factory) -> tuple[Path, str]:
    """A folder in which someone's own line was run on 40 pictures, and what it said."""
    folder = tmp_path_factory.mktemp("curated")
    write_pictures(folder / "pictures", 40, seed=6)
    (folder / "curation.py").write_text(OWN)
    source = ("corpus=corpus", "ingest.source=pictures", "shard.captions=[source]")
    return folder, run(python, folder, "curation.py", *source)


def test_ingest_to_report_without_torch(python, curated):
    folder, said = curated
    assert "40 records = " in said
    assert next((folder / "corpus").glob("runs/*/report.html")).stat().st_size > 10_000
    assert next((folder / "corpus").glob("sets/*/*/manifest.parquet"))
    assert "Traceback" not in said
    train = ("-m", "nucleus_data.commands", "quick-train", "corpus=corpus")
    said = run(python, folder, *train, "shard.captions=[source]", code=2)
    assert said.endswith(
        "quick_train needs torch, diffusers, transformers: pip install 'nucleus-data[train]'\n"
    )


def test_files_are_as_the_umask_says(curated):
    os.umask(mask := os.umask(0))
    for path in (curated[0] / "corpus").rglob("*"):
        wanted = (0o777 if path.is_dir() else 0o666) & ~mask
        assert path.stat().st_mode & 0o777 == wanted, path


def test_what_needs_torch_says_how_to_install_it(python, curated):
    folder, _ = curated
    install = "pip install 'nucleus-data[train]'"
    asked = {
        ("check",): (0, install),
        ("check", "--config", "configs/full/recipe.yaml"): (0, install),
        ("sample", "corpus", "red"): (2, install),
        ("merge", "corpus", "--out", "merged"): (2, install),
        ("export-model", "corpus", "exported"): (2, install),
        ("config", "--config", "configs/full/recipe.yaml"): (0, "Qwen/Qwen3-VL-8B-Instruct"),
        ("status", "corpus=corpus"): (0, "40"),
        ("world", "world", "--images", "12"): (0, "12 pictures"),
    }
    said = run(python, folder, "-c", ASK, json.dumps(list(asked)))
    found, heavy = json.loads(said.splitlines()[-1])
    for (words, (code, text)), answer in zip(asked.items(), found, strict=True):
        assert (answer[0], text in answer[1], answer[2]) == (code, True, None), (words, answer)
    assert "torch" not in heavy
    (made,) = (folder / "corpus").glob("sets/*/*")
    assert install in run(python, folder, "-m", "nucleus_model", str(made), "out", code=2)


def test_pipelines_and_recipes_are_found_from_anywhere(python, tmp_path):
    said = run(python, tmp_path, "-m", "nucleus_data.pipelines.curate", "--help")
    assert said.startswith("Usage: python -m nucleus_data.pipelines.curate ")
    (tmp_path / "mine.yaml").write_text("base: configs/nano/recipe.yaml\nshard: {name: mine}\n")
    said = run(python, tmp_path, "-m", "nucleus_data.commands", "config", "--config", "mine.yaml")
    assert 'shard.name = "mine"' in said
