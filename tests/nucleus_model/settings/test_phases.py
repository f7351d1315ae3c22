import pytest
from pydantic import ValidationError

from nucleus_model.settings.phases import caption_weight, phase_at
from nucleus_model.settings.settings import QuickTrainSettings

PHASES = [
    {"steps": 3, "resolution": 64, "capacity_factors": 4, "captions": {"short": 1}},
    {"steps": 2, "resolution": 128, "batch_size": 2, "lr_factor": 0.5, "aspects": ["1x1"]},
]


def made(**values):
    return QuickTrainSettings.model_validate(values)


def test_a_recipe_without_phases_is_one_phase_of_the_keys_beside():
    (phase,) = made(steps=7, batch_size=3, resolution=64, timestep_mu=0.1).plan()
    assert (phase.steps, phase.batch_size, phase.resolution) == (7, 3, 64)
    assert (phase.timestep_mu, phase.lr_factor, phase.piece) == (0.1, 1.0, 3)


def test_a_phase_takes_what_it_leaves_out_from_beside():
    settings = made(phases=PHASES, batch_size=16, micro_batch=4, captions={"long": 2})
    first, second = settings.plan()
    assert (first.batch_size, second.batch_size) == (16, 2)
    assert (first.piece, second.piece) == (4, 4)
    assert (first.captions, second.captions) == ({"short": 1}, {"long": 2})
    assert (first.capacity_factors, second.capacity_factors) == (4, None)
    assert (first.lr_factor, second.lr_factor) == (1.0, 0.5)
    assert first.aspects is None
    assert second.aspects == ("1x1",)


def test_a_phase_with_its_own_number_of_images_counts_no_tokens():
    phases = [{"steps": 1}, {"steps": 1, "batch_size": 4}, {"steps": 1, "batch_tokens": 99}]
    plan = made(phases=phases, batch_size=16, batch_tokens=512).plan()
    assert [phase.batch_tokens for phase in plan] == [512, None, 99]
    assert [phase.batch_size for phase in plan] == [16, 4, 16]


def test_steps_are_the_sum_of_the_phases_and_survive_a_checkpoint():
    settings = made(phases=PHASES)
    assert settings.steps == 5
    assert QuickTrainSettings.model_validate(settings.model_dump(mode="json")) == settings
    with pytest.raises(ValidationError, match="is 600, but the phases' sum is 5; remove steps"):
        made(phases=PHASES, steps=600)


def test_unknown_keys_and_impossible_weights_are_refused():
    with pytest.raises(ValidationError, match="lr_facter"):
        made(phases=[{"steps": 1, "lr_facter": 1}])
    for weights in ({}, {"a": 0.0}, {"a": -1.0, "b": 2.0}):
        with pytest.raises(ValidationError, match="weights of 0 or more, one of them above 0"):
            made(captions=weights)
        with pytest.raises(ValidationError, match="weights of 0 or more, one of them above 0"):
            made(phases=[{"steps": 1, "captions": weights}])


def test_each_step_is_in_one_phase():
    plan = made(phases=PHASES).plan()
    assert [phase_at(plan, step) for step in range(1, 7)] == [0, 0, 0, 1, 1, 1]


def test_the_closest_name_of_a_caption_s_source_has_its_weight():
    weights = {"refined:long": 3.0, "long": 2.0, "synthesized": 1.0}
    names = ("refined:long", "synthesized:long", "synthesized:short", "web", "")
    assert [caption_weight(weights, name) for name in names] == [3.0, 2.0, 1.0, 0.0, 0.0]
    assert caption_weight(None, "web") == 1.0
