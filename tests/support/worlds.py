"""Small pictures of the synthetic world, for tests that want a folder with known faults."""

from dataclasses import dataclass
from pathlib import Path

from nucleus_data.world.plan import WorldPlan, WorldSettings
from nucleus_data.world.write import make

FAULTS = (
    "truncated",
    "html",
    "mislabelled",
    "blank",
    "over_exposed",
    "blurred",
    "tiny",
    "extreme_aspect",
    "over_compressed",
    "alpha",
    "cmyk",
    "animated",
    "sixteen_bit",
    "oriented",
    "exact_copy",
    "reencoded",
    "resized",
    "chain_start",
    "chain",
)


@dataclass(frozen=True)
class Truth:
    """What is known of a file."""

    file: str
    fault: str
    original: str


def write_pictures(folder: Path, images: int, seed: int) -> list[Truth]:
    """Small pictures, one in five with a fault, each fault once or more."""
    settings = WorldSettings(
        images,
        seed,
        fault_share=max(0.2, len(FAULTS) / images),
        faults=FAULTS,
        strengths=(2,),
        long_side=(128, 320),
    )
    plan, truth = WorldPlan(settings), []
    for planned in plan:
        data, entry = make(plan, planned)
        path = folder / entry["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if entry["alt_text"]:
            path.with_suffix(".txt").write_text(entry["alt_text"])
        truth.append(Truth(entry["file"], entry["fault"], entry["original"]))
    return truth
