import pytest

from nucleus_data.world.server import WorldServer
from tests.support.world_server import served_pictures


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Pictures for the world's server."""
    return served_pictures(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def shared_server(folder):
    """One server for all tests, for it takes a while to stop."""
    with WorldServer(folder) as server:
        yield server


@pytest.fixture
def server(shared_server):
    """The server, with the counters of `*K` and the log of a test's own."""
    shared_server._met.clear()
    shared_server._log.clear()
    return shared_server
