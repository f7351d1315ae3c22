"""Measures the quality of captions and routes on the world, where the truth is known.

    python scripts/bench_captioning_world.py                 # 300 and 1,000 pictures: some minutes
    python scripts/bench_captioning_world.py --quick
    python scripts/bench_captioning_world.py --engine transformers --only facts
    python -m scripts.bench_captioning_world --bare 2000

Both run the line's stages.

- *Facts*: the pictures are unseen by the nano models, and each has a caption with one mistake. The
  stage `caption` makes captions of five lengths from the picture, and refines the poor caption. The
  stored texts are scored as in the model's card.
- *Routes*: planted captions are right, have one mistake, are mostly wrong, or are another
  picture's. After `embed`, `nucleus calibrate` with labels of one half, and `score`, the result is
  how well, in the other half, the calibrated similarity separates captions with at least half of
  their facts right from the others. `--bare` measures routes without the line, on a number of
  pictures of two other worlds.

The output is Markdown, with 95 % Wilson intervals.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq
import yaml

from nucleus_data.corpus import Corpus
from nucleus_data.engines.calibration import fit_calibration
from nucleus_data.engines.clip import load_clip
from nucleus_data.world.plan import WorldPlan, WorldSettings
from nucleus_data.world.scenes import scene
from nucleus_data.world.words import LENGTHS
from nucleus_data.world.write import make
from scripts.captions.routing import HALF, Captioned, Judged, by_kind, captioned, routed
from scripts.nano.captioner_measure import figures_of, poor_caption
from scripts.nano.measuring import HeldOut, held_out
from scripts.nano.training import HELD_OUT_SEED

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "nucleus_data/engines/assets/captioner/card.yaml"
ALL = ("select.rules={}", "select.drop_duplicates=false")
MAX_TOKENS = 256
BARE_WORLDS = (93_000, 94_000)  # seeds of the worlds to calibrate on, and to evaluate on
SPREAD = 0.01  # tolerance of a share of 300 pictures' facts, between engines and versions


def write_folder(folder: Path, first: int, count: int, refine: bool) -> dict[str, Captioned]:
    """Writes pictures of the held-out world with captions; returns them by file name."""
    plan = WorldPlan(WorldSettings(first + count, HELD_OUT_SEED, "core", fault_share=0))
    folder.mkdir()
    made = {}
    for number, line in enumerate(plan):
        if number < first:
            continue
        data, entry = make(plan, line)
        facts = scene(HELD_OUT_SEED, line.scene, "core")
        text = poor_caption(facts) if refine else ""
        caption = Captioned(facts, "one mistake", text, 1.0) if refine else captioned(facts)
        name = f"{number:06d}{Path(entry['file']).suffix}"
        (folder / name).write_bytes(data)
        (folder / name).with_suffix(".txt").write_text(caption.text)
        made[name] = caption
    return made


def nucleus(*words: str) -> None:
    """Runs a command of `nucleus` quietly; if it fails, exits with its output."""
    command = [sys.executable, "-m", "nucleus_data.commands", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    for line in done.stdout.splitlines():
        if "truth tests" in line:
            print(line.strip(), flush=True)


def facts_right(root: Path, count: int, engine: str) -> str:
    """Returns a table of the shares of right facts after the stage, beside those of the card."""
    made = write_folder(root / "pictures", 0, count, refine=True)
    corpus = f"corpus={root / 'corpus'}"
    nucleus("ingest", corpus, f"ingest.source={root / 'pictures'}")
    nucleus("select", corpus, *ALL)
    variants = {name: {"prompt": name, "max_tokens": MAX_TOKENS} for name in (*LENGTHS, "refine")}
    variants_text = yaml.safe_dump(variants, default_flow_style=True, width=10**6).strip()
    nucleus(
        "caption", corpus, *ALL, f"caption.variants={variants_text}", f"caption.engine={engine}"
    )
    said: dict[str, list[str]] = {}
    names: list[str] = []
    for name in variants:
        found = stored(root / "corpus", f"caption.{name}", "caption")
        names = [key for key in made if key in found]
        said[name] = [found[key] for key in names]
        if len(names) < count:
            print(f"{name}: {count - len(names)} of {count} pictures have no caption")
    image = None  # the figures only use the facts
    figures = figures_of(said, [HeldOut(made[name].facts, image) for name in names])  # type: ignore[arg-type]
    card = yaml.safe_load(CARD.read_text())["measured"]
    lines = ["| what | stage | card | |", "|---|---|---|---|"]
    for name, value in figures.items():
        verdict = "" if abs(value - card[name]) <= SPREAD else "differs"
        lines.append(f"| {name} | {value:.4f} | {card[name]:.4f} | {verdict} |")
    return "\n".join(lines)


def stored(folder: Path, table: str, column: str) -> dict[str, str]:
    """Returns a table's column, by upstream key."""
    corpus = Corpus(str(folder))
    # The newest of several tables, as `embed` also scores, without a calibration.
    root = max((folder / "tables" / table).iterdir(), key=lambda path: path.stat().st_mtime)
    keys: dict[str, str] = {}
    values: dict[str, str] = {}
    for number in corpus.shards():
        records = corpus.records.read(number, ["id", "key"])
        assert records is not None
        keys.update(zip(*(records.column(name).to_pylist() for name in ("id", "key")), strict=True))
    for part in sorted(root.glob("*.parquet")):
        read = pq.read_table(part, columns=["id", column, "error"]).to_pylist()
        values.update({keys[row["id"]]: row[column] for row in read if row["error"] is None})
    return values


def routes(root: Path, count: int) -> str:
    """Returns tables of how well the calibrated similarity routes captions."""
    made = write_folder(root / "pictures", 300, count, refine=False)
    names = sorted(made)
    labelled, judged = names[::2], names[1::2]
    labels = root / "labels.csv"
    with labels.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["key", "matched"])
        writer.writerows([name, str(made[name].right).lower()] for name in labelled)
    share = sum(made[name].right for name in labelled) / len(labelled)
    corpus, out = f"corpus={root / 'corpus'}", root / "calibration.json"
    nucleus("ingest", corpus, f"ingest.source={root / 'pictures'}")
    nucleus("select", corpus, *ALL)
    nucleus("embed", corpus, *ALL)
    nucleus("calibrate", corpus, *ALL, f"--pairs={labels}", f"--prior={share:.3f}", f"--out={out}")
    nucleus("score", corpus, *ALL, f"score.calibration.main={out}")
    similarities = stored(root / "corpus", "embed.match", "caption_similarity")
    halves = [
        Judged(
            np.array([float(similarities[name]) for name in names]),
            np.array([made[name].share for name in names]),
        )
        for names in (judged, labelled)
    ]
    kinds = by_kind([made[name] for name in judged], halves[0].score.tolist())
    return f"{routed(*halves)}\n\n{kinds}"


def bare_routes(count: int, fitted: int, judged: int) -> str:
    """Returns the same tables without the line: calibrated on one world, evaluated on another.

    Args:
        count: Number of pictures of each world.
        fitted: Seed of the world to calibrate on, and to choose thresholds on.
        judged: Seed of the world to evaluate on.
    """
    clip = load_clip("nano")
    worlds = []
    for seed in (fitted, judged):
        rows = held_out(count, "core", seed)
        given = [captioned(row.facts) for row in rows]
        cosine = (clip.images([r.image for r in rows]) * clip.texts([g.text for g in given])).sum(1)
        worlds.append((given, cosine, np.array([caption.share for caption in given])))
    (_, cosine, share), (given, judged_cosine, judged_share) = worlds
    right = share >= HALF
    calibration = fit_calibration(
        cosine[right], cosine[~right], model="nano", revision="", prior=float(right.mean())
    )
    similarity = calibration.apply(judged_cosine)
    table = routed(Judged(similarity, judged_share), Judged(calibration.apply(cosine), share))
    return f"{table}\n\n{by_kind(given, similarity.tolist())}"


def main() -> None:
    """Prints the tables."""
    command = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command.add_argument("--quick", action="store_true", help="60 and 400 pictures")
    command.add_argument("--engine", default="auto", help="caption.engine")
    command.add_argument("--only", choices=("facts", "routes"))
    command.add_argument("--bare", type=int, help="pictures of a world: routes alone, no line")
    args = command.parse_args()
    if args.bare:
        print(bare_routes(args.bare, *BARE_WORLDS))
        return
    with tempfile.TemporaryDirectory(prefix="nucleus-world-") as folder:
        for name in ("facts", "routes"):
            (Path(folder) / name).mkdir()
        if args.only != "routes":
            count = 60 if args.quick else 300
            print(facts_right(Path(folder) / "facts", count, args.engine), flush=True)
        if args.only != "facts":
            print(f"\n{routes(Path(folder) / 'routes', 400 if args.quick else 1000)}")


if __name__ == "__main__":
    main()
