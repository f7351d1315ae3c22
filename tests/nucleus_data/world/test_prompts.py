"""The fixed prompts, and training pictures that show none of them."""

from collections import Counter

import pytest

from nucleus_data.world import captions, render, scene
from nucleus_data.world.prompts import (
    FACTS,
    TRAINING_WORLD,
    choose_prompts,
    read_prompts,
    score_prompts,
    training_indices,
    write_training_pictures,
)


def facts(shown):
    return captions(shown)[FACTS]


def test_the_prompts_are_those_that_the_world_gives():
    assert read_prompts() == choose_prompts()
    assert len({facts(prompt.scene) for prompt in read_prompts()}) == 200


@pytest.mark.slow
def test_no_training_picture_shows_what_a_prompt_asks_for():
    asked = {facts(prompt.scene) for prompt in read_prompts()}
    indices = training_indices(1000)
    shown = [facts(scene(TRAINING_WORLD, index)) for index in indices]
    assert not asked & set(shown)
    left_out = set(range(indices[-1])) - set(indices)
    assert left_out
    assert all(facts(scene(TRAINING_WORLD, index)) in asked for index in left_out)


@pytest.mark.slow
def test_shuffled_captions_are_the_same_ones_at_other_pictures(tmp_path):
    texts = {}
    for shuffled in (False, True):
        folder = tmp_path / str(shuffled)
        write_training_pictures(folder, 30, shuffled=shuffled, workers=1)
        texts[shuffled] = {file.stem: file.read_text() for file in folder.glob("*.txt")}
        assert len(list(folder.glob("*.jpg"))) == len(texts[shuffled]) == 30
    assert Counter(texts[False].values()) == Counter(texts[True].values())
    assert sum(texts[True][name] == text for name, text in texts[False].items()) < 3


def test_a_prompts_own_scene_scores_right_and_anothers_does_not():
    prompts = read_prompts()[:6]
    images = [render(prompt.scene, 96, 96) for prompt in prompts]
    score = score_prompts(images, prompts)
    assert (score.images, score.objects, score.right, score.images_right) == (6, 6, 6, 6)
    assert score_prompts([*images[1:], images[0]], prompts).images_right == 0
