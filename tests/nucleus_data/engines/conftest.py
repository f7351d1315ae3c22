import pytest

from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.load import load_engine


@pytest.fixture(scope="session")
def transformers_engine():
    pytest.importorskip("transformers")
    return load_engine(EngineSettings(engine="transformers", max_side=256))
