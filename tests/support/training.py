"""What the tests of the trainer share: a small set, a small tower, settings that take a second."""

import json

from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.settings.text_encoder import TextSettings
from tests.support.model import colored_items, write_qwen, write_set, write_sides


def write_inputs(folder):
    """A set of 20 images in two buckets, and a text encoder."""
    items = colored_items(12, (32, 32)) + colored_items(8, (48, 16), 12)
    return write_set(folder / "set", items, resolution=32), write_qwen(folder / "qwen")


def settings(qwen, **changes):
    values = {
        "preset": "debug",
        "codec_factor": 2,
        "steps": 6,
        "batch_size": 8,
        "warmup": 2,
        "lr": 5e-3,
        "holdout_share": 0.2,
        "holdout_times": 2,
        "sample_steps": 2,
        "sample_rows": 2,
        "threads": 1,
        "text": TextSettings(model=str(qwen)),
    }
    return QuickTrainSettings.model_validate(values | changes)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_same(one, other, left_out=("timings.jsonl",)):
    """Two folders have the same files with the same bytes."""
    names = [
        {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()} for folder in (one, other)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        if name.name not in left_out:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


def write_two_resolutions(folder):
    """A set of 16 images at 32 pixels, 10 of them at 64 too."""
    counts = {32: 16, 64: 10}
    return write_sides(folder, {side: colored_items(n, (side, side)) for side, n in counts.items()})
