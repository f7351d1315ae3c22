import pytest

from nucleus_data.hashing import sample_unit
from nucleus_model.data.draws import as_bytes
from nucleus_model.data.view import View, is_held_out
from nucleus_model.settings.choice import split_holdout
from tests.support.loading import settings
from tests.support.sets import ident

IDS = [ident(number) for number in range(300)]


def view(without=0, **changes):
    given = settings(**changes)
    return View.of(given, given.plan()[0], without)


def test_held_out_and_sampled_are_those_of_the_settings_rules():
    ids = as_bytes(IDS)
    train, held = split_holdout(IDS, 0.3, len(IDS))
    out = is_held_out(ids, 0.3)
    assert {i for i, o in zip(IDS, out, strict=True) if o} == set(held)
    kept = view(holdout_share=0.3, sample=0.5).chosen(ids)
    wanted = [i for i in train if sample_unit(i) < 0.5]
    assert [i for i, k in zip(IDS, kept, strict=True) if k] == wanted


@pytest.mark.parametrize(
    "changes",
    [
        {"holdout_share": 0.1},
        {"sample": 0.5},
        {"captions": {"web": 1}},
        {"mixture": {"a": {"b": 1}}},
    ],
)
def test_a_view_that_leaves_nothing_out_reads_no_table(changes):
    assert view().whole
    assert not view(without=1).whole
    assert not view(**changes).whole
    assert view().copies(_Counts, 0, 0).tolist() == [1, 1, 1]


class _Counts:
    """Tables that can say nothing but how many samples a tar has."""

    @staticmethod
    def samples(tar):
        return 3


def test_only_a_fraction_changes_from_epoch_to_epoch():
    assert not view(mixture={"tier": {"A1": 2, "A2": 0}, "curriculum": {"B1": 1}}).changes
    assert view(mixture={"tier": {"A1": 1.5}}).changes
