"""Which cases of a test the fast run has: a few of each kind; the others are slow."""

import pytest


def quick(values, fast, arguments=1):
    """Values for `parametrize`, those that are not in `fast` marked slow.

    Args:
        values: All cases.
        fast: The cases of the fast tests; or how many, the first ones.
        arguments: How many arguments of the test a case is.
    """
    chosen = list(values)[:fast] if isinstance(fast, int) else fast
    return [
        value
        if value in chosen
        else pytest.param(*(value if arguments > 1 else (value,)), marks=pytest.mark.slow)
        for value in values
    ]
