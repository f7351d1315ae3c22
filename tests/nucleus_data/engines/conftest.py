import ssl
from functools import partial

import pytest

from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.captioner_server import ServerEngine
from nucleus_data.engines.find import resolve_model
from nucleus_data.engines.load import load_engine


@pytest.fixture(scope="session")
def transformers_engine():
    pytest.importorskip("transformers")
    return load_engine(EngineSettings(engine="transformers", max_side=256))


@pytest.fixture(scope="module")
def certificates_once():
    """Trusted certificates: each client would read them, for 30 ms; no server here has any."""
    import openai

    client = partial(openai.DefaultAsyncHttpxClient, verify=ssl.create_default_context())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai, "DefaultAsyncHttpxClient", client)
        yield


@pytest.fixture
def engine_for(certificates_once):
    """Makes engines that ask servers, and ends them."""
    engines = []

    def make(*servers, model=None, **settings):
        servers_ = {
            "urls": [getattr(one, "url", one) for one in servers],
            "backoff_s": 0.01,
            **settings.pop("servers", {}),
        }
        engines.append(
            ServerEngine(
                model or resolve_model("nano", None),
                EngineSettings(engine="server", servers=servers_, **settings),
            )
        )
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
