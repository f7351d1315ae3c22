"""A small world of synthetic scenes, for trying everything where no real data can be had.

A scene is a few facts (one or two coloured shapes, where they are, what is behind them), keyed by
`(seed, index)`. `render` paints it at any size, `captions` says it in words, and `write_demo`
writes a folder of such pictures with planted faults and a `truth.csv` that names each of them.
Everything is a function of the seed: no global state.

    from nucleus_data.world import captions, render, scene
    render(scene(0, 17), 128, 96).save("17.png")
    captions(scene(0, 17))["short"]    # 'A large red ring on a teal background.'
"""

from nucleus_data.world.demo import Planted, write_demo
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import Scene, Shape, alt_text, captions, scene

__all__ = ["Planted", "Scene", "Shape", "alt_text", "captions", "render", "scene", "write_demo"]
