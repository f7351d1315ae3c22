import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.errors import RequestError
from nucleus_data.stages.select.fit import (
    CurriculumFit,
    decoded,
    encoded,
    fitted,
    load_fit,
    save_fit,
    sketched,
)

OF = ("score", (1.0, 2.0, 3.0), "pixels", 0.6)
RECORD = st.tuples(st.integers(1, 3), st.floats(1, 1e8))


@pytest.mark.slow
@given(st.lists(RECORD, min_size=2, max_size=40), st.randoms(use_true_random=False))
def test_the_constants_are_the_same_however_the_corpus_is_cut(records, chance):
    def sketch_of(some):
        return sketched(np.array([t for t, _ in some]), np.array([s for _, s in some]))

    whole = sketch_of(records)
    chance.shuffle(records)
    cut = chance.randrange(len(records))
    parts = [sketch_of(some) for some in (records[:cut], records[cut:]) if some]
    summed = sum((decoded(encoded(part)) for part in parts), type(whole)())
    assert summed == whole
    if len(whole) == 1:
        with pytest.raises(RequestError, match=r"have the same tier and size"):
            fitted(whole, *OF)
        return
    fit = fitted(whole, *OF)
    assert fit == fitted(summed, *OF)
    assert fit.records == len(records)
    tiers, sizes = (np.array(column) for column in zip(*records, strict=True))
    z = fit.standardised(tiers, sizes)
    assert (z.mean(), z.std()) == pytest.approx((0, 1), abs=1e-6)


def test_what_was_fitted_is_read_again(tmp_path):
    fit = fitted(sketched(np.array([1, 2, 3]), np.array([3.0, 5.0, 9e6])), *OF)
    save_fit(fit, tmp_path / "fit.json")
    assert load_fit(str(tmp_path / "fit.json")) == fit
    assert load_fit(json.loads((tmp_path / "fit.json").read_text())) == fit
    assert [p.name for p in tmp_path.iterdir()] == ["fit.json"]
    with pytest.raises(RequestError, match=r"can't be written: no such file or directory"):
        save_fit(fit, tmp_path / "none" / "fit.json")


def test_what_can_t_be_fitted_is_told():
    with pytest.raises(RequestError, match="no kept record has both a quality tier and a size"):
        fitted(sketched(np.array([]), np.array([])), *OF)
    with pytest.raises(RequestError, match="all 3 kept records have the same tier and size"):
        fitted(sketched(np.array([2, 2, 2]), np.array([64.0, 64.0, 64.5])), *OF)


FIT = CurriculumFit(
    records=3,
    score="score",
    bounds=(1.0,),
    size="pixels",
    quality_weight=0.6,
    mean=0.5,
    deviation=0.25,
    sizes=(1.0, 2.0),
    ranks=(0.25, 0.75),
)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"deviation": 0}, "deviation: Input should be greater than 0"),
        ({"sizes": [2.0, 2.0]}, "sizes must be in increasing order"),
        ({"ranks": [0.5, 1.5]}, "ranks must be between 0 and 1"),
        ({"ranks": [0.5]}, "has 2 sizes but 1 ranks"),
        ({"version": 2}, "version: "),
        ({"more": 1}, "more: Extra inputs are not permitted"),
        ({"mean": float("nan")}, "mean: "),
    ],
)
def test_other_content_is_refused(changed, said):
    with pytest.raises(
        RequestError, match=r"^select\.curriculum\.fitted is not the output"
    ) as caught:
        load_fit({**FIT.model_dump(mode="json"), **changed})
    assert said in str(caught.value)
    assert "nucleus fit-curriculum" in str(caught.value)


def test_a_missing_or_broken_file_is_told_with_the_command(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    for given_, said in (
        (None, "is not set"),
        (str(tmp_path / "none.json"), "does not exist"),
        (str(tmp_path / "broken.json"), "is not valid JSON"),
        (str(tmp_path), "can't be read"),
    ):
        with pytest.raises(RequestError, match=r"^select\.curriculum\.fitted") as caught:
            load_fit(given_)
        assert said in str(caught.value)
