import json
import math

import pytest

from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training.guards import Guard, Verdict


def guard(**values):
    return Guard(QuickTrainSettings.model_validate({"clip": 2.0, **values}))


def fed(found, norms=12, norm=1.0):
    for step in range(norms):
        assert found.judge(step, 0.5, norm, []) == Verdict(None, 2.0)
    return found


@pytest.mark.parametrize(
    ("loss", "norm", "reason"), [(math.nan, 1.0, "loss"), (1.0, math.inf, "gradient")]
)
def test_what_is_not_finite_is_skipped_and_ends_the_run_in_the_end(loss, norm, reason):
    found = guard(max_bad_steps=3)
    assert found.judge(1, loss, norm, ["abc"]) == Verdict(reason, None)
    assert found.judge(2, loss, norm, ["abc"]) == Verdict(reason, None)
    assert found.judge(3, 1.0, 1.0, ["abc"]) == Verdict(None, 2.0)  # in a row: counted anew
    for step in (4, 5):
        found.judge(step, loss, norm, ["abc"])
    with pytest.raises(
        FloatingPointError, match=r"diverged at step 6: .* 3 steps in a row .*: abc, d"
    ):
        found.judge(6, loss, norm, ["abc", "d"])
    assert found.skipped == 5


def test_a_spike_is_skipped_or_clipped_to_the_median():
    for action, clip in (("skip", None), ("clip", 1.0)):
        found = fed(guard(spike_factor=5.0, spike_action=action))
        assert found.judge(20, 0.5, 4.9, []) == Verdict(None, 2.0)
        assert found.judge(21, 0.5, 5.1, []) == Verdict("spike", clip)
        assert 5.1 not in found.norms
    assert found.clipped == 1
    assert found.bad == 0


def test_without_a_factor_or_before_enough_steps_there_are_no_spikes():
    assert fed(guard()).judge(20, 0.5, 1e9, []).reason is None
    early = fed(guard(spike_factor=5.0), norms=9)
    assert early.judge(10, 0.5, 1e9, []).reason is None
    late = fed(guard(spike_factor=5.0))
    late.forget()
    assert late.judge(20, 0.5, 1e9, []).reason is None


def test_a_guard_goes_on_from_its_state():
    before = fed(guard(spike_factor=5.0, spike_window=10), norm=0.1)
    before.judge(20, math.nan, 1.0, [])
    after = guard(spike_factor=5.0, spike_window=10)
    after.restore(json.loads(json.dumps(before.state())))
    assert (after.norms, after.bad, after.skipped) == (before.norms, 1, 1)
    assert after.judge(21, 0.5, 0.6, []) == before.judge(21, 0.5, 0.6, [])
