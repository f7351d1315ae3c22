import pytest
from pydantic import ValidationError

from nucleus_data.stages.select.settings import SelectSettings


def test_settings_of_rules_are_checked():
    assert SelectSettings(rules={"a": "width < 3"}).rules["a"].where == "width < 3"
    for wrong in ({"a": ""}, {"a": {"where": "x", "action": "drop"}}, {"a": {"were": "x"}}, ["a"]):
        with pytest.raises(ValidationError):
            SelectSettings(rules=wrong)
