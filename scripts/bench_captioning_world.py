"""What captions and routes are worth on the world, whose truth is known: through the line's stages.

    python scripts/bench_captioning_world.py                 # 300 and 1,000 pictures: some minutes
    python scripts/bench_captioning_world.py --quick
    python scripts/bench_captioning_world.py --engine transformers --only facts

*Facts*: pictures that the nano models never saw, each with a caption that has one mistake;
`caption` makes five lengths of the picture and refines the poor one, and the stored texts are
scored as in the model's card. *Routes*: captions planted as right, with one mistake, mostly wrong,
or another picture's; `embed`, `nucleus calibrate` with labels of one half, `score`; of the other
half, how well the calibrated similarity tells captions with half of their facts right from the
others. What is printed is Markdown.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq
import yaml

from nucleus_data.corpus import Corpus
from nucleus_data.views.calibrate import THRESHOLDS
from nucleus_data.world.alt_texts import alt_text, with_a_mistake
from nucleus_data.world.caption_scoring import score_caption
from nucleus_data.world.plan import WorldPlan, WorldSettings
from nucleus_data.world.scenes import Scene, scene
from nucleus_data.world.words import LENGTHS, captions
from nucleus_data.world.write import make
from scripts.nano.captioner_measure import figures_of, poor_caption
from scripts.nano.measuring import HeldOut, auc
from scripts.nano.training import HELD_OUT_SEED

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "nucleus_data/engines/assets/captioner/card.yaml"
KINDS = {"right": 0.4, "one mistake": 0.2, "mostly wrong": 0.2, "another picture's": 0.2}
ALL = ("select.rules={}", "select.drop_duplicates=false")
MAX_TOKENS = 256
HALF = 0.5
NEAR_HALF = 0.1  # so near, a share is of one or two facts, and its side hangs on how they count
SPREAD = 0.01  # of a share of 300 pictures' facts, between engines and versions


@dataclass(frozen=True)
class Planted:
    """A picture's caption that came with it.

    Attributes:
        facts: The picture's truth.
        kind: Of `KINDS`.
        text: The caption.
        share: How much of what it tells is right; an invented object is one wrong thing.
    """

    facts: Scene
    kind: str
    text: str
    share: float

    @property
    def right(self) -> bool:
        """Whether half of it is right."""
        return self.share >= HALF


def planted(facts: Scene) -> Planted:
    """A caption of a drawn kind."""
    rng = np.random.default_rng([facts.seed, facts.index, 9])
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "right":
        text = captions(facts)["short"]
    elif kind == "one mistake":
        text = captions(with_a_mistake(facts, rng))["short"]
    elif kind == "mostly wrong":
        wrong = facts
        for _ in range(200):
            wrong = with_a_mistake(wrong, rng)
            if share_right(captions(wrong)["short"], facts) < HALF:
                break
        text = captions(wrong)["short"]
    else:
        text = alt_text(facts, "other_image").text
    return Planted(facts, kind, text, share_right(text, facts))


def share_right(text: str, facts: Scene) -> float:
    """How much of what a caption tells is right, 0 to 1."""
    score = score_caption(text, facts, "short")
    return score.right / max(score.told + score.invented, 1)


def write_folder(folder: Path, first: int, count: int, refine: bool) -> dict[str, Planted]:
    """Clean pictures of the world that is kept for measuring, with captions; by file name."""
    plan = WorldPlan(WorldSettings(first + count, HELD_OUT_SEED, "core", fault_share=0))
    folder.mkdir()
    made = {}
    for number, line in enumerate(plan):
        if number < first:
            continue
        data, entry = make(plan, line)
        facts = scene(HELD_OUT_SEED, line.scene, "core")
        text = poor_caption(facts) if refine else ""
        one = Planted(facts, "one mistake", text, 1.0) if refine else planted(facts)
        name = f"{number:06d}{Path(entry['file']).suffix}"
        (folder / name).write_bytes(data)
        (folder / name).with_suffix(".txt").write_text(one.text)
        made[name] = one
    return made


def nucleus(*words: str) -> None:
    """Runs a command, quietly; ends this script with what it said if it fails."""
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
    """Facts right after the stage, beside the card's."""
    made = write_folder(root / "pictures", 0, count, refine=True)
    corpus = f"corpus={root / 'corpus'}"
    nucleus("ingest", corpus, f"ingest.source={root / 'pictures'}")
    nucleus("select", corpus, *ALL)
    variants = {name: {"prompt": name, "max_tokens": MAX_TOKENS} for name in (*LENGTHS, "refine")}
    asked = yaml.safe_dump(variants, default_flow_style=True, width=10**6).strip()
    nucleus("caption", corpus, *ALL, f"caption.variants={asked}", f"caption.engine={engine}")
    said: dict[str, list[str]] = {}
    names: list[str] = []
    for name in variants:
        found = stored(root / "corpus", f"caption.{name}", "caption")
        names = [key for key in made if key in found]
        said[name] = [found[key] for key in names]
        if len(names) < count:
            print(f"{name}: {count - len(names)} of {count} pictures have no caption")
    image = None  # the figures read the facts alone
    figures = figures_of(said, [HeldOut(made[name].facts, image) for name in names])  # type: ignore[arg-type]
    card = yaml.safe_load(CARD.read_text())["measured"]
    lines = ["| what | stage | card | |", "|---|---|---|---|"]
    for name, value in figures.items():
        verdict = "" if abs(value - card[name]) <= SPREAD else "differs"
        lines.append(f"| {name} | {value:.4f} | {card[name]:.4f} | {verdict} |")
    return "\n".join(lines)


def stored(folder: Path, table: str, column: str) -> dict[str, str]:
    """A table's column by upstream key."""
    corpus = Corpus(str(folder))
    # Of several settings, those of now: `embed` scores too, without a calibration.
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
    """How well the calibrated similarity routes captions that came with pictures."""
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
    found = stored(root / "corpus", "embed.match", "caption_similarity")
    return routed([made[name] for name in judged], [float(found[name]) for name in judged])


def routed(given: Sequence[Planted], similarities: Sequence[float]) -> str:
    """AUC, and each route's precision and recall, with how each kind was routed."""
    score, right = np.array(similarities), np.array([one.right for one in given])
    clear = np.array([abs(one.share - HALF) > NEAR_HALF for one in given])
    low, high = THRESHOLDS
    route = np.where(score > high, "preserve", np.where(score < low, "synthesize", "refine"))
    lines = ["| captions | | half right | AUC | route | taken | precision | recall |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for what, some in (("all", clear | True), ("without those of 40 to 60 %", clear)):
        told = auc(score[some & right], score[some & ~right])
        for name, wanted in (("preserve", right), ("synthesize", ~right)):
            taken = some & (route == name)
            hits = (taken & wanted).sum()
            lines.append(
                f"| {what} | {some.sum()} | {right[some].mean():.0%} | {told:.3f} | {name}"
                f" | {taken.sum()} | {hits / max(taken.sum(), 1):.3f}"
                f" | {hits / max((some & wanted).sum(), 1):.3f} |"
            )
    lines += ["", "| planted | captions | half right | preserve | refine | synthesize |"]
    lines.append("|---|---|---|---|---|---|")
    for kind in KINDS:
        mine = np.array([one.kind == kind for one in given])
        shares = Counter(route[mine].tolist())
        parts = " | ".join(
            f"{shares[name] / mine.sum():.1%}" for name in ("preserve", "refine", "synthesize")
        )
        lines.append(f"| {kind} | {mine.sum()} | {right[mine].mean():.0%} | {parts} |")
    for kind in KINDS:
        mine = np.array([one.kind == kind for one in given])
        certain = np.array([one.kind == "right" for one in given])
        if kind != "right":
            lines.append(
                f"\nAUC of right ones against those planted as {kind}:"
                f" {auc(score[certain], score[mine]):.3f}"
            )
    return "\n".join(lines)


def main() -> None:
    """Prints the tables."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--quick", action="store_true", help="60 and 400 pictures")
    asked.add_argument("--engine", default="auto", help="caption.engine")
    asked.add_argument("--only", choices=("facts", "routes"))
    args = asked.parse_args()
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
