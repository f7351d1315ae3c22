"""Fixed prompts that a generator is judged by, and training pictures that show none of them.

The prompts are captions of single objects, fixed in `prompts.jsonl`: colour, kind, size, place and
background. No picture of the training world shows an object of a prompt's colour, kind and size
alone on its background: those 200 of 480 combinations are never seen by themselves, though their
parts are. `score_prompts` looks at what was drawn for them.

    prompts = read_prompts()
    write_training_pictures(Path("pictures"), 12_000)
    score_prompts(draw(prompts), prompts).right_share
"""

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from nucleus_data.hashing import keyed_uint64
from nucleus_data.world.image_scoring import ImageScore, score_image
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import Scene, scene
from nucleus_data.world.segmentation import Array
from nucleus_data.world.words import captions

PROMPTS = Path(__file__).with_name("prompts.jsonl")
PROMPT_WORLD, TRAINING_WORLD = 60_000, 50_000  # their seeds
COUNT = 200
SIDE = 128
QUALITY = 95
LENGTH = "medium"
FACTS = "short"  # says all of a single object but its place


@dataclass(frozen=True)
class Prompt:
    """A prompt, and what has to be seen in its picture.

    Attributes:
        prompt: A caption of the length `LENGTH`.
        seed: Seed of the noise that the picture is drawn from.
        index: Number of the scene in the world `PROMPT_WORLD`.
    """

    prompt: str
    seed: int
    index: int

    @property
    def scene(self) -> Scene:
        """What the picture should show."""
        return scene(PROMPT_WORLD, self.index)


def read_prompts() -> list[Prompt]:
    """Reads the fixed prompts."""
    lines = PROMPTS.read_text(encoding="utf-8").splitlines()
    return [Prompt(**json.loads(line)) for line in lines]


def choose_prompts() -> list[Prompt]:
    """Chooses the first scenes with one object and new facts: `prompts.jsonl` was made by this."""
    found: dict[str, int] = {}
    index = 0
    while len(found) < COUNT:
        shown = scene(PROMPT_WORLD, index)
        if len(shown.shapes) == 1:
            found.setdefault(captions(shown)[FACTS], index)
        index += 1
    scenes = {index: scene(PROMPT_WORLD, index) for index in found.values()}
    return [
        Prompt(captions(shown)[LENGTH], seed, index)
        for seed, (index, shown) in enumerate(scenes.items())
    ]


def score_prompts(images: Iterable[Image.Image | Array], prompts: Sequence[Prompt]) -> ImageScore:
    """Scores pictures that were drawn for prompts, one for each, and adds the counts up.

    Args:
        images: What `find_objects` takes, in the prompts' order.
        prompts: What was drawn.
    """
    scores = (score_image(image, p.scene) for image, p in zip(images, prompts, strict=True))
    return sum(scores, ImageScore())


def training_indices(count: int) -> list[int]:
    """Numbers of the first scenes of the training world whose facts are no prompt's."""
    kept_out = {captions(prompt.scene)[FACTS] for prompt in read_prompts()}
    found: list[int] = []
    index = 0
    while len(found) < count:
        if captions(scene(TRAINING_WORLD, index))[FACTS] not in kept_out:
            found.append(index)
        index += 1
    return found


def write_training_pictures(
    folder: Path, count: int, *, shuffled: bool = False, workers: int = 2
) -> None:
    """Writes pictures with captions beside them, as `nucleus ingest` reads a folder.

    Args:
        folder: Where; made.
        count: How many pictures.
        shuffled: Whether each picture has the caption of another one.
        workers: How many processes paint.
    """
    folder.mkdir(parents=True)
    indices = training_indices(count)
    told = dict(zip(indices, indices, strict=True))
    if shuffled:
        # One step round a circle in random order: no picture keeps its own caption, and each
        # caption stays in use, so that only what belongs together differs from the true ones.
        order = sorted(indices, key=lambda index: keyed_uint64("shuffled-captions", 0, str(index)))
        told = dict(zip(order, [*order[1:], order[0]], strict=True))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(_write, folder), told.items(), chunksize=200))


def _write(folder: Path, numbers: tuple[int, int]) -> None:
    shown, told = numbers
    picture = render(scene(TRAINING_WORLD, shown), SIDE, SIDE)
    picture.save(folder / f"{shown:06d}.jpg", quality=QUALITY, subsampling=0)
    text = captions(scene(TRAINING_WORLD, told))[LENGTH]
    (folder / f"{shown:06d}.txt").write_text(text, encoding="utf-8")
