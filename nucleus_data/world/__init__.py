"""A world of synthetic pictures whose truth is known: what everything here is measured with.

A scene is a few facts (coloured shapes, where they are, what is behind them), a function of
`(seed, index, level)`. `render` paints it at any size, `captions` says it in words of five lengths,
`alt_text` says it as badly as the web does, `pleasantness` rates it. `write_world` writes pictures
with planted faults as a folder, as tars or as a URL list, with the truth about each in
`truth.parquet`; `WorldServer` serves them over HTTP, faults of servers included.

What is measured with it: `planting` plants the faults into other pictures and `expected` says which
rule should find which; `prompts` has fixed prompts that no training picture shows,
`object_detection` finds the shapes in what was drawn for them, `reading` reads captions back, and
`caption_scoring` scores them. `corpora` writes corpora for tests and benches, `damage` breaks
files.

    from nucleus_data.world import WorldSettings, captions, render, scene, write_world
    render(scene(0, 17), 320, 240).save("17.png")
    captions(scene(0, 17))["short"]    # 'A large red ring. The background is teal.'
    write_world("world", WorldSettings(images=10_000, seed=1, level="full"))
"""

from nucleus_data.world.alt_texts import AltText, alt_text
from nucleus_data.world.painting import render
from nucleus_data.world.plan import FAULTS, Planned, WorldPlan, WorldSettings
from nucleus_data.world.rating import pleasantness, ratings
from nucleus_data.world.scenes import LEVELS, Scene, Shape, scene
from nucleus_data.world.words import LENGTHS, captions
from nucleus_data.world.write import make, write_world

__all__ = [
    "FAULTS",
    "LENGTHS",
    "LEVELS",
    "AltText",
    "Planned",
    "Scene",
    "Shape",
    "WorldPlan",
    "WorldSettings",
    "alt_text",
    "captions",
    "make",
    "pleasantness",
    "ratings",
    "render",
    "scene",
    "write_world",
]
