import pytest
from pydantic import ValidationError

from nucleus_data.stages.shard.settings import ShardSettings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"aspects": ["5x4"]}, "unknown bucket '5x4'; allowed: 1x1"),
        ({"aspects": "eight"}, "'seven' or 'forty'"),
        ({"aspects": []}, "is empty; allowed: seven"),
        ({"crop_loss": 1}, "less than 1"),
        ({"format": "png"}, "'jpeg', 'webp' or 'original'"),
        ({"aspects": ["1x1", "1x1"]}, "contains an entry twice"),
        ({"captions": ["short", "short"]}, "contains an entry twice"),
        ({"resolutions": [0]}, "must be sides of 1 pixel or more, not 0"),
        ({"resolutions": []}, "at least 1"),
        ({"name": "a/b"}, "must be letters, digits"),
        ({"name": "."}, "not dots alone"),
        ({"name": ".."}, "not dots alone"),  # it would lie beside `sets/`, and not in it
        ({"samples_per_tar": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        ShardSettings(**wrong)
