import pytest
from pydantic import ValidationError

from nucleus_data.config import deciding
from nucleus_data.stages.select.settings import SelectSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0},
        {"temperature": float("inf")},
        {"variance": -1},
        {"reach": 0},
        {"quality_weight": 1.1},
        {"again": -0.1},
        {"size": ""},
        {"fitted": 3},
        {"alignment": "x"},
    ],
)
def test_wrong_settings_of_the_curriculum_are_refused(wrong):
    with pytest.raises(ValidationError):
        SelectSettings(curriculum=wrong)


def test_without_a_curriculum_a_hash_knows_nothing_of_it():
    assert "curriculum" not in deciding(SelectSettings())
    assert deciding(SelectSettings(curriculum={}))["curriculum"]["temperature"] == 0.7


def test_settings_of_rules_are_checked():
    assert SelectSettings(rules={"a": "width < 3"}).rules["a"].where == "width < 3"
    for wrong in (
        {"a": ""},
        {"": "x < 3"},
        {" ": "x < 3"},
        {"a": {"where": "x", "action": "drop"}},
        {"a": {"were": "x"}},
        ["a"],
    ):
        with pytest.raises(ValidationError):
            SelectSettings(rules=wrong)
