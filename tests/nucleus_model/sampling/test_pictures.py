import json

import numpy as np
import pytest
from PIL import Image

from nucleus_model.sampling.pictures import read_parameters, tile, write_grid, write_png


def test_cells_have_a_border():
    canvas = tile(np.zeros((1, 2, 4, 6, 3), np.uint8))
    assert canvas.shape == (8, 18, 3)
    assert (canvas[:2] == 255).all()
    assert (canvas[2:6, 8:10] == 255).all()
    assert not canvas[2:6, 2:8].any()


def test_a_png_says_how_it_was_made(tmp_path):
    image = np.full((4, 6, 3), 7, np.uint8)
    facts = {"prompt": "blüe <b>\n", "seed": 2**63, "guidance": 4.0}
    write_png(tmp_path / "a.png", image, facts)
    assert read_parameters(tmp_path / "a.png") == facts
    with Image.open(tmp_path / "a.png") as picture:
        assert (np.asarray(picture) == image).all()
    Image.fromarray(image).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="no text chunk"):
        read_parameters(tmp_path / "b.png")


def test_a_grid_s_cells_lie_where_its_record_says(tmp_path):
    prompts, seeds = ["a red square", "blüe <b>"], [0, 7, 8]
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 48, 3), dtype=np.uint8)
    write_grid(tmp_path, images, prompts, seeds, steps=2, guidance=4.0)
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.size == (3 * 50 + 2, 2 * 34 + 2)
        cell = np.asarray(picture)[2 + 34 : 2 + 34 + 32, 2 + 2 * 50 : 2 + 2 * 50 + 48]
    assert (cell == images[1, 2]).all()
    record = json.loads((tmp_path / "samples.json").read_text(encoding="utf-8"))
    assert record["rows"] == prompts
    assert record["columns"] == seeds
    assert (record["cell_width"], record["cell_height"], record["padding"]) == (48, 32, 2)
    assert record["guidance"] == 4.0
