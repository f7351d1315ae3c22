"""Fixtures of the model's tests."""

import pytest


@pytest.fixture(scope="session")
def diffusers():
    """The package, which takes seconds to import: only the process that needs it does."""
    import diffusers

    return diffusers
