"""Fixtures of the tests of `nucleus_data`."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_database(tmp_path_factory):
    """One DuckDB for all plans of a process: to open one takes 20 ms, and tests make hundreds."""
    from nucleus_data.stages.ingest import plan

    with plan.connect(tmp_path_factory.mktemp("duckdb")) as database:
        patch = pytest.MonkeyPatch()
        patch.setattr(plan, "connect", lambda folder: database.cursor())
        yield
        patch.undo()
