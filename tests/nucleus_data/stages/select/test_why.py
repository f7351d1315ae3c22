import pytest

from nucleus_data.stages.compare.preference import PREFER, RANK
from nucleus_data.stages.select.expression import Names, parse_order
from nucleus_data.stages.select.why import EQUAL, WORDS, why

NAMES = Names({"width": "inspect.file", "bytes": "inspect.file"})


@pytest.mark.parametrize(
    ("stays", "dropped", "said"),
    [
        ([200, 5], [100, 9], "width desc: 200 against 100"),
        ([200, 12345], [200, 9], "its file is larger: 12,345 against 9 bytes"),
        ([200, 9], [200, 9], EQUAL),
        ([200, 9], [None, 9], "width desc: 200 against no value"),
        ([1.23456789, 9], [True, 9], "width desc: 1.23457 against True"),
    ],
)
def test_the_first_difference_is_told(stays, dropped, said):
    prefer = [parse_order(text, "prefer", NAMES) for text in ("width desc", "bytes desc")]
    assert why(prefer, stays, dropped) == said


def test_each_item_of_the_default_order_has_words():
    assert set(WORDS) == {RANK, *PREFER}
