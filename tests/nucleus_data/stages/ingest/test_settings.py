import pytest
from pydantic import ValidationError

from nucleus_data.stages.ingest.settings import IngestSettings


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="surce"):
        IngestSettings(source="x", surce="y")
    with pytest.raises(ValidationError, match="images_per_shard"):
        IngestSettings(source="x", images_per_shard=0)
    with pytest.raises(ValidationError, match="frozen"):
        IngestSettings(source="x").source = "y"
