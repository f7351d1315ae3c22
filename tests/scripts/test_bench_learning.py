"""That the nano transformer learns what captions say, in small; the whole is `bench_learning`."""

from collections import Counter

import pytest

from nucleus_data.world import captions, scene
from scripts.bench_learning import Size, bench
from scripts.learning.scenes import (
    FACTS,
    TRAINING_WORLD,
    choose_prompts,
    read_prompts,
    training_indices,
    write_pictures,
)


def facts(shown):
    return captions(shown)[FACTS]


def test_the_prompts_are_those_that_the_world_gives():
    assert read_prompts() == choose_prompts()
    assert len({facts(prompt.scene) for prompt in read_prompts()}) == 200


def test_no_training_picture_shows_what_a_prompt_asks_for():
    asked = {facts(prompt.scene) for prompt in read_prompts()}
    indices = training_indices(1000)
    shown = [facts(scene(TRAINING_WORLD, index)) for index in indices]
    assert not asked & set(shown)
    left_out = set(range(indices[-1])) - set(indices)
    assert left_out
    assert all(facts(scene(TRAINING_WORLD, index)) in asked for index in left_out)


def test_shuffled_captions_are_the_same_ones_at_other_pictures(tmp_path):
    texts = {}
    for shuffled in (False, True):
        folder = tmp_path / str(shuffled)
        write_pictures(folder, 30, shuffled=shuffled, workers=1)
        texts[shuffled] = {file.stem: file.read_text() for file in folder.glob("*.txt")}
        assert len(list(folder.glob("*.jpg"))) == len(texts[shuffled]) == 30
    assert Counter(texts[False].values()) == Counter(texts[True].values())
    assert sum(texts[True][name] == text for name, text in texts[False].items()) < 3


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_it_draws_what_captions_say_if_they_are_true(tmp_path):
    """500 steps: enough to tell true captions from shuffled ones, not to draw well."""
    rows = {row.name: row.value for row in bench(tmp_path, Size(2000, 500, 80))}
    print(rows)
    assert rows["true captions: prompts"] == 80
    assert rows["true captions: objects right"] >= 0.2
    assert rows["shuffled captions: objects right"] <= 0.1
    assert rows["true captions: loss at the end"] < rows["shuffled captions: loss at the end"]
    for name in ("true.png", "shuffled.png", "found.json"):
        assert (tmp_path / name).stat().st_size > 0
