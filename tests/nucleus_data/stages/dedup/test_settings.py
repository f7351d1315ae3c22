import pytest
from pydantic import ValidationError

from nucleus_data.stages.dedup.settings import DedupSettings


def test_settings_say_what_is_allowed():
    assert DedupSettings().model_dump() == {
        "distance": 4,
        "hash256_distance": 40,
        "aspect_tolerance": 0.03,
        "hashes": "upright",
        "against": {},
        "partition_records": 2_000_000,
    }
    with pytest.raises(ValidationError, match="a name must be 1 to 63 characters"):
        DedupSettings(against={"an evaluation set": "there"})
    with pytest.raises(ValidationError, match="less than or equal to 8"):
        DedupSettings(distance=9)
    with pytest.raises(ValidationError, match="Extra inputs"):
        DedupSettings(distanec=3)
    assert all(field.description for field in DedupSettings.model_fields.values())
