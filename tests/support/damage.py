"""Files of a finished corpus by kind, and ways to damage them."""

import json
import shutil
from pathlib import Path

WAYS = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "garbage": lambda data: b"\xff{not" * 50,
    "flipped": lambda data: data[:-9] + bytes([data[-9] ^ 0xFF]) + data[-8:],  # in the footer
    "folder": None,
}


def damage(root, name, way):
    """Damages a file of a corpus; returns its whole path."""
    path = Path(root, name)
    data = path.read_bytes()
    path.unlink()
    if WAYS[way] is None:
        path.mkdir()
    else:
        path.write_bytes(WAYS[way](data))
    return path


def kinds(corpus, run):
    """Kind -> a file of that kind, below the corpus."""
    store = corpus.store
    tables = {n: f"tables/{n}/{corpus.config_hashes(n)[0]}" for n in store.list("tables")}
    folder = run.training_set
    (index,) = Path(store.path(folder)).glob("64/*/000000.index.parquet")
    return {
        "records": f"{tables['records']}/000001-0.parquet",
        "measured": f"{tables['inspect.tone']}/000001-0.parquet",
        "pairs": f"{tables['dedup']}/000000-0.parquet",
        "selection": f"{tables['selection']}/000001-0.parquet",
        "pairs published": f"{tables['dedup']}/_published.json",
        "selection published": f"{tables['selection']}/_published.json",
        "index of a set": f"{folder}/{index.relative_to(store.path(folder))}",
        "manifest": f"{folder}/manifest.parquet",
        "left out of a set": f"{folder}/left_out.parquet",
        "claim": "claims/000000.parquet",
        "images": "images/000000.tar",
        "plan of a run": f"runs/{run.name}/plan.json",
        "stages of a run": f"runs/{run.name}/stages.jsonl",
        "failures of a run": f"runs/{run.name}/failures.jsonl",
        "corpus": "corpus.json",
    }


def copy_of(corpus, target):
    """A copy of a corpus, with the files that a failed shard and an ingest leave besides."""
    shutil.copytree(corpus.uri, target)
    (run,) = (p for p in Path(target, "runs").iterdir() if (p / "stages.jsonl").exists())
    failure = {"stage": "inspect", "shard": 7, "error": "OSError: gone", "traceback": "line 1"}
    (run / "failures.jsonl").write_text(json.dumps(failure) + "\n")
    Path(target, "claims").mkdir(exist_ok=True)
    (records,) = Path(target).glob("tables/records/*/000000-0.parquet")
    shutil.copy(records, Path(target, "claims/000000.parquet"))
    return target
