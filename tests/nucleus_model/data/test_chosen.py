import pytest

from nucleus_data.errors import RequestError
from nucleus_model.data.chosen import choose_samples
from nucleus_model.settings.choice import choose
from tests.support.loading import STREAMS, Opened
from tests.support.quick import quick
from tests.support.sets import make_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("chosen") / "set", {"64/1x1": 50}, a_tar=9).url()


@pytest.mark.parametrize(
    "changes",
    quick([{}, {"holdout_limit": 2}, {"limit": 30}, {"sample": 0.7}, {"holdout_share": 0.0}], 3),
)
def test_it_is_what_the_settings_rules_say(folder, changes):
    made = Opened(folder, **{"holdout_share": 0.2, **changes})
    train, held = choose([sample.id for sample in made.set.samples], made.settings)
    assert [made.set.sample(int(n)).id for n in made.chosen.numbers] == train
    assert [sample.id for sample in made.chosen.held_out] == held


def test_of_a_large_set_the_first_tars_are_measured_and_no_limit_is_there(folder):
    made = Opened(folder, holdout_share=0.3, holdout_limit=2, **STREAMS)
    first = {made.ident(0, row) for row in range(9)} | {made.ident(1, row) for row in range(9)}
    assert {sample.id for sample in made.chosen.held_out} <= first
    assert len(made.chosen.held_out) == 2
    limited = made.settings.model_copy(update={"limit": 5})
    with pytest.raises(
        RequestError, match=r"quick_train.limit: .* 50 samples.*use quick_train.sample"
    ):
        choose_samples(made.set, limited)
