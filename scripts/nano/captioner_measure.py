"""How right the captioner is: through vLLM, on pictures of a world it never saw."""

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from nucleus_data.engines.captioner import Ask, EngineSettings, Sampling
from nucleus_data.engines.load import load_engine
from nucleus_data.stages.caption.prompts import PROMPTS, question
from nucleus_data.world.alt_texts import alt_text
from nucleus_data.world.caption_scoring import CaptionScore, score_caption
from nucleus_data.world.refinement_scoring import RefinementScore, score_refinement
from nucleus_data.world.scenes import LEVELS, Level, Scene
from nucleus_data.world.words import LENGTHS
from scripts.nano.captioner import NAME, PIXELS, SEED
from scripts.nano.measuring import HeldOut, held_out, table, trained, write_card
from scripts.nano.training import HELD_OUT_SEED, SEEDS, say

COUNT = 300
IN_FLIGHT = 48
BARS = {
    "short_right": 0.97,
    "short_told": 0.95,
    "short_whole": 0.90,
    "long_right": 0.95,
    "long_invented": 0.01,
    "refine_corrected": 0.90,
    "refine_kept": 0.97,
    "same_as_transformers": 0.99,
}
Said = dict[str, list[str]]


def poor_caption(facts: Scene) -> str:
    """What the refiner is given: a short caption with one mistake."""
    return alt_text(facts, "partly_wrong").text


def say_all(engine: str, model: str, pictures: Sequence[HeldOut], variants: Sequence[str]) -> Said:
    """Greedy captions of all pictures, every variant: name to texts in the pictures' order."""
    running = load_engine(EngineSettings(model=model, engine=engine, max_in_flight=IN_FLIGHT))  # type: ignore[arg-type]
    said: Said = {variant: [""] * len(pictures) for variant in variants}

    def take() -> None:
        for made in running.step():
            number, variant = made.key.split("/")
            said[variant][int(number)] = made.text

    for number, picture in enumerate(pictures):
        asks = []
        for variant in variants:
            prompt = PROMPTS[variant]
            if variant == "refine":
                prompt = question(prompt, poor_caption(picture.facts))
            asks.append(Ask(f"{number}/{variant}", prompt, Sampling(max_tokens=256)))
        running.submit(running.prepare(np.asarray(picture.image), asks))
        while running.pending() > IN_FLIGHT:
            take()
    while running.pending():
        take()
    return said


def say_apart(engine: str, model: str, count: int, level: Level, variants: Sequence[str]) -> Said:
    """Runs `say_all` in a process of its own: vLLM changes the process that imports it."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_say_held_out, engine, model, count, level, tuple(variants)).result()


def _say_held_out(
    engine: str, model: str, count: int, level: Level, variants: tuple[str, ...]
) -> Said:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return say_all(engine, model, held_out(count, level), variants)


def figures_of(said: Said, pictures: Sequence[HeldOut]) -> dict[str, float]:
    """Shares: of each length, facts right, asked facts told, whole captions, objects invented."""
    figures: dict[str, float] = {}
    for variant, texts in said.items():
        pairs = list(zip(texts, pictures, strict=True))
        if variant == "refine":
            refined = sum(
                (score_refinement(poor_caption(p.facts), text, p.facts) for text, p in pairs),
                RefinementScore(),
            )
            figures["refine_corrected"] = refined.corrected_share
            figures["refine_kept"] = refined.kept_share
            continue
        score = sum((score_caption(text, p.facts, variant) for text, p in pairs), CaptionScore())
        figures[f"{variant}_right"] = score.right_share
        figures[f"{variant}_told"] = score.told_share
        figures[f"{variant}_whole"] = score.whole_share
        figures[f"{variant}_invented"] = score.invented_share
    return figures


CARD = """# nano captioner

A Qwen3-VL of {millions:.2f} M parameters with a tokenizer of its own, trained from nothing on
scenes of `nucleus_data.world` (seed {seed}) and on nothing else. **Its captions of real pictures
mean nothing.** It exists so that the `nano` configuration runs the real captioning path without a
download, and so that what is built on captions can be measured where the truth is known.

- Made by `python scripts/build_nano_models.py captioner`: {trained}
- Says: tags, very short, short, medium and long captions, and refines a poor one (`PROMPTS` in
  `nucleus_data.stages.caption.prompts`). Pictures are seen at {pixels:,} pixels.
- Measured by `python scripts/build_nano_models.py captioner --measure`: {count} clean pictures a
  level of world {held_out}, decoded from the files that the world writes, through vLLM, greedy.
  Bars hold on core.

{table}

`same_as_transformers` is the share of captions (all variants) that transformers gives word for
word. Limits: it knows the shapes, colours and sentences of `nucleus_data.world` and answers every
other question with one of them. Weights are bfloat16. Licence: as the package.
"""


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Measures what lies in `args.out`, and writes its card."""
    folder: Path = args.out / NAME
    variants = (*LENGTHS, "refine")
    by_level = {}
    for level in LEVELS:
        said = say_apart("vllm", str(folder), COUNT, level, variants)
        by_level[level] = figures_of(said, held_out(COUNT, level))
        other = say_apart("transformers", str(folder), COUNT // 4, level, variants)
        same = [a == b for v in variants for a, b in zip(said[v], other[v], strict=False)]
        by_level[level]["same_as_transformers"] = float(np.mean(same))
        say(f"captioner, {level}: {by_level[level]}")
    rows = {}
    for name in by_level["core"]:
        bar = BARS.get(name)
        sign = "<=" if name.endswith("invented") else ">="
        told = f"{sign} {bar}" if bar is not None else ""
        rows[name] = (by_level["core"][name], by_level["full"][name], told)
    size = (folder / "model.safetensors").stat().st_size / 2e6
    text = CARD.format(
        millions=size,
        seed=SEEDS[NAME],
        trained=trained(folder),
        pixels=PIXELS,
        count=COUNT,
        held_out=HELD_OUT_SEED,
        table=table(rows),
    )
    assert SEED != HELD_OUT_SEED
    write_card(folder, text, by_level["core"])
    return by_level["core"]
