"""Measures the spread of the loss's difference between seeds, which determines a verdict's power.

    nice python scripts/bench_verdict_power.py --out power --write   # 24 runs; a killed one goes on
    python scripts/bench_verdict_power.py --out power --preset debug --write
    python scripts/bench_verdict_power.py --out power --preset debug --seeds 3

`--write` stores the finished results in `nucleus_model/training/verdict/power.json`. If the
self-test's committed comparisons include at least `FEWEST` of a preset with the same pictures on
both sides, it stores the median of their deviations instead, because deviations differ widely
between comparisons: of the 48 of `nano`, 46 have 0.09 to 1.3 %, and 30 and 100 % of noisy pictures
6.9 and 15 %.

The two sets have the same 1,000 pictures of the world (64 x 64); in B, 5 % of them have the caption
of another picture. 160 pictures of another world are the reference. *Equal pictures* is the
standard deviation of a seed's difference. *Other pictures*, where seeds are not paired, adds the
variances of both sets over their seeds; they are taken from the same comparisons, whose sets have
equal pictures.
"""

import argparse
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.store import Store
from nucleus_data.sets.beside import encode
from nucleus_data.sets.editions import EDITION_SCHEMA
from nucleus_data.sets.index import INDEX_SCHEMA, index_name
from nucleus_data.sets.layout import SetFolder
from nucleus_data.sets.provenance import encode as provenance
from nucleus_data.sets.tars import TarWriter
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import scene
from nucleus_data.world.words import captions
from nucleus_model.settings.verdict import FIXED, VerdictSettings
from nucleus_model.training.verdict import power
from nucleus_model.training.verdict.collect import replicates
from nucleus_model.training.verdict.plan import Arm, Planned, plan_comparison
from nucleus_model.training.verdict.replicates import pilot_deviation
from nucleus_model.training.verdict.run import LOSSES, RunSpec, do_run, write_plan

SIDE, LENGTH, SWAPPED = 64, "short", 0.05
WORLD, REFERENCE_WORLD = 70_000, 71_000
PICTURES, MEASURED, SEEDS = 1000, 160, 6
COMPARED = Path(__file__).parent / "verdict/measured/lines.jsonl"
FEWEST = 10
TAR, EDITION = f"{SIDE}/1x1/000000.tar", "e" * 16


def write_set(folder: Path, world: int, numbers: Sequence[int], swapped: float = 0.0) -> Arm:
    """Publishes a set of pictures of a world, unless it exists.

    Args:
        folder: The set's folder.
        world: Seed of the world.
        numbers: Numbers of the scenes.
        swapped: Share of the pictures that get the caption of another one.
    """
    made = SetFolder(Store(str(folder)))
    if made.published:
        return Arm(str(folder), name=folder.name)
    scenes = [scene(world, number) for number in numbers]
    caption_of = list(range(len(scenes)))
    count = round(swapped * len(scenes))
    caption_of[:count] = [*caption_of[1:count], *caption_of[:1]] if count else []
    tar, rows, texts = folder / TAR, [], []
    tar.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(tar) as writer:
        for number, shown, other in zip(numbers, scenes, caption_of, strict=True):
            ident = hashlib.md5(f"{world} {number}".encode(), usedforsecurity=False).hexdigest()
            stream = io.BytesIO()
            render(shown, SIDE, SIDE).save(stream, "JPEG", quality=95, subsampling=0)
            data, about = stream.getvalue(), provenance({"id": ident, "source": "world"})
            place = {
                "id": ident,
                "offset": writer.add(f"{ident}.jpg", data),
                "size": len(data),
                "json_offset": writer.add(f"{ident}.json", about),
                "json_size": len(about),
                "width": SIDE,
                "height": SIDE,
                "crop": [0, 0, SIDE, SIDE],
                "shard": 0,
                "row": len(rows),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            rows.append(place)
            texts.append([captions(scenes[other])[LENGTH]])
    index = encode(pa.Table.from_pylist(rows, INDEX_SCHEMA))
    (folder / index_name(TAR)).write_bytes(index)
    edition = made.new_edition(EDITION)
    columns = [[row["id"] for row in rows], texts, [["synthesized:short"]] * len(rows)]
    edition.write(TAR, pa.table(columns, schema=EDITION_SCHEMA))
    told_of = {"samples": len(rows), "captions": len(rows), "without": 0}
    mix = {"synthesized:short": len(rows)}
    edition.publish({"name": LENGTH, "tables": ["world"], "mix": mix, **told_of})
    row = {"path": TAR, "resolution": SIDE, "aspect": "1x1", "width": SIDE, "height": SIDE}
    row |= {"samples": len(rows), "bytes": writer.size, "sha256": writer.sha256}
    made.publish([{**row, "index_sha256": hashlib.sha256(index).hexdigest()}])
    return Arm(str(folder), name=folder.name)


def planned(out: Path, preset: str) -> tuple[Path, Planned]:
    """Plans the comparison of a preset, and returns its folder and the plan."""
    sets = out / "sets"
    a = write_set(sets / "a", WORLD, range(PICTURES))
    b = write_set(sets / "swapped", WORLD, range(PICTURES), SWAPPED)
    reference = write_set(sets / "reference", REFERENCE_WORLD, range(MEASURED))
    settings = VerdictSettings(preset=preset, pictures=MEASURED)
    folder, plan = out / preset, plan_comparison(a, b, settings, reference)
    write_plan(plan, folder)
    return folder, plan


def spread(folder: Path, plan: Planned, *, pairs: bool) -> power.Spread | None:
    """Returns the standard deviation of the loss's difference over the finished replicates."""
    count = 0
    while all(RunSpec(str(folder), arm, count).done for arm in "ab"):
        count += 1
    if count < 3:
        return None
    tables = {
        arm: [pq.read_table(RunSpec(str(folder), arm, n).folder / LOSSES) for n in range(count)]
        for arm in "ab"
    }
    values = replicates(tables, plan.memory)
    a, b = (np.asarray(values[arm]["loss"]) for arm in "ab")
    return power.Spread(100 * pilot_deviation(a, b, pairs=pairs) / abs(float(a.mean())), count)


def of_self_test(preset: str) -> dict[str, power.Spread]:
    """Returns the median spreads of a preset's comparisons in the self-test; {} if they are few."""
    found: dict[str, list[float]] = {power.EQUAL: [], power.OTHER: []}
    seeds = set()
    for line in COMPARED.read_text(encoding="utf-8").splitlines():
        compared = json.loads(line)
        if compared["preset"] != preset or not compared["pairs"]:
            continue
        a, b = (np.asarray(compared["values"][arm]["loss"]) for arm in "ab")
        seeds.add(len(a))
        for name, percents in found.items():
            deviation = pilot_deviation(a, b, pairs=name == power.EQUAL)
            percents.append(100 * deviation / abs(float(a.mean())))
    count = len(found[power.EQUAL])
    if count < FEWEST:
        return {}
    return {
        name: power.Spread(float(np.median(percents)), min(seeds), count)
        for name, percents in found.items()
    }


def main() -> None:
    """Executes the missing runs, and prints the spread."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder; what is there goes on")
    parser.add_argument("--preset", choices=sorted(FIXED), action="append", help="[all]")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each set [%(default)s]")
    parser.add_argument("--write", action="store_true", help="write power.json")
    parser.add_argument("--stored", action="store_true", help="no runs: only what is done")
    given = parser.parse_args()
    presets = given.preset or sorted(FIXED)
    comparisons = {preset: planned(given.out, preset) for preset in presets}
    # Seed by seed, so that after a kill both sets have the same number of runs.
    for number in range(0 if given.stored else given.seeds):
        for folder, _ in comparisons.values():
            for arm in "ab":
                do_run(RunSpec(str(folder), arm, number))
    found = {preset: of_self_test(preset) for preset in sorted(FIXED)}
    for preset, (folder, plan) in comparisons.items():
        for name, pairs in ((power.EQUAL, True), (power.OTHER, False)):
            known = spread(folder, plan, pairs=pairs)
            if known is not None:
                found[preset].setdefault(name, known)
                print(f"{preset}, {name}: {known.percent:.3g} % of the loss ({known.origin})")
    if given.write:
        path = Path(power.__file__).with_name(power.FILE)
        content = {"command": "python scripts/bench_verdict_power.py --out power --write"}
        presets_found = {
            preset: {
                name: asdict(known) | {"percent": float(f"{known.percent:.3g}")}
                for name, known in spreads.items()
            }
            for preset, spreads in found.items()
        }
        text = json.dumps({**content, "presets": presets_found}, indent=2, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
