import math

import pytest

from nucleus_model.settings.schedule import learning_rate, merge_weights, shift_mu
from nucleus_model.settings.settings import QuickTrainSettings


def plan(**values):
    return QuickTrainSettings.model_validate({"steps": 100, "lr": 1.0, **values})


def test_the_learning_rate_rises_stays_and_falls():
    settings = plan(warmup=10, decay_share=0.2)
    rates = [learning_rate(step, settings) for step in range(1, 101)]
    assert rates[:2] == [0.1, 0.2]
    assert set(rates[9:81]) == {1.0}
    assert rates[-1] == pytest.approx(1 / 20)
    assert rates[80:] == sorted(rates[80:], reverse=True)
    flat = plan(warmup=0, decay_share=0)
    assert learning_rate(1, flat) == learning_rate(100, flat) == 1.0


def test_a_schedule_that_merges_does_not_fall_and_a_phase_scales():
    settings = plan(warmup=10, decay_share=0.2, schedule="warmup_stable_merge")
    assert learning_rate(5, settings) == 0.5
    assert learning_rate(100, settings) == 1.0
    assert learning_rate(100, settings, 0.25) == 0.25


def test_the_shift_is_linear_in_tokens_between_its_ends():
    assert [shift_mu(tokens) for tokens in (64, 256, 4096, 9999)] == [0.5, 0.5, 1.15, 1.15]
    assert shift_mu(1024) == pytest.approx(0.5 + 0.65 * 768 / 3840)
    assert shift_mu((256 + 4096) // 2) == pytest.approx(0.825)


@pytest.mark.parametrize("count", [1, 2, 16])
def test_weights_of_a_merge_sum_to_one_and_have_their_form(count):
    found = {kind: merge_weights(kind, count) for kind in ("inverse_sqrt", "uniform")}
    for weights in found.values():
        assert len(weights) == count
        assert math.fsum(weights) == pytest.approx(1)
    newest = found["inverse_sqrt"][-1]
    for age in range(1, count + 1):
        assert found["inverse_sqrt"][-age] == pytest.approx(newest / math.sqrt(age))
    # What is left of an update's weight falls as the name says.
    weights = merge_weights("one_minus_sqrt", count)
    for index in range(count):
        left = math.fsum(weights[index:])
        assert left == pytest.approx(1 - math.sqrt(index / count))
    with pytest.raises(ValueError, match="inverse_sqrt, uniform or one_minus_sqrt, got 'ema'"):
        merge_weights("ema", count)
