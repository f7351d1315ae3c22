import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nucleus_data.config import deciding, describe
from nucleus_data.stages.caption import checks
from nucleus_data.stages.caption.checks import Checks, Fault, Said, check_caption, examine
from tests.support.quick import quick

NAMES = ["empty", "degenerate", "invalid_json", "repetition", "leak", "cut", "refusal", "chatter"]
NAMES += ["language", "words", "contradiction", "boilerplate"]


def test_checks_are_found_in_their_order():
    found = [kind.name for kind in checks.KINDS]
    assert [name for name in found if name in NAMES] == NAMES
    assert [check.name for check in Checks().on] == found
    assert len({kind.name for kind in checks.KINDS}) == len({k.rank for k in checks.KINDS})


def test_the_first_fault_names_the_failure():
    said = Said("!" * 90, "length", 90, 90)
    assert check_caption(said, Checks()) == Fault("degenerate", "it has '!' 90 times in a row")
    off = Checks(degenerate={"action": "off"}, repetition={"action": "flag"})
    assert check_caption(said, off).check == "cut"


PARTS = [
    " ",
    "\n",
    "12",
    "3.5",
    "https://a.example/b",
    "c@d.example",
    "The",
    "ring",
    "is",
    "\u2014",
]
PARTS += [
    "\u00c9t\u00e9",
    "\u4e2d",
    "\u0e01",
    '"',
    "\u201c",
    "'",
    "{",
    "[1]",
    "<|im_end|>",
    "```",
    "\x1c",
    "_",
]


# Few parts, many times: "1 2 1 1 2 ...".
FEW = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), min_size=1, max_size=3)


@given(
    FEW.flatmap(lambda few: st.lists(st.sampled_from(few), max_size=40)).map(" ".join),
    st.sampled_from([None, '{"type": "object"}']),
    st.sampled_from([None, "en", "de", "ja"]),
)
def test_no_text_is_an_error(text, schema, language):
    said = Said(text, template="Describe {it}.", schema=schema, language=language, words=(3, 9))
    verdict = examine(said, Checks())
    faults = [fault.check for fault in (verdict.fault, *verdict.flags) if fault]
    assert not set(faults) & set(verdict.passed)


def test_flags_keep_a_caption():
    said = Said("The image shows a red ring.")
    assert check_caption(said, Checks()) is None
    verdict = examine(said, Checks())
    assert (verdict.fault, [flag.check for flag in verdict.flags]) == (None, ["boilerplate"])
    assert "boilerplate" not in verdict.passed
    assert set(NAMES[:-1]) <= set(verdict.passed)
    strict = Checks(boilerplate={"action": "ask_again"})
    assert check_caption(said, strict).check == "boilerplate"


@pytest.mark.parametrize(
    "text", ["a red circle", "Two cats on a sofa.", "一个蘑菇。", "red, round, shiny"]
)
def test_good_captions_pass_all(text):
    assert examine(Said(text, template="Describe this image."), Checks()).fault is None


def test_settings_are_closed_and_described():
    with pytest.raises(ValidationError):
        Checks(repetitions={})
    with pytest.raises(ValidationError):
        Checks(repetition={"action": "delete"})
    told = {key: text for key, _, text in describe(Checks)}
    assert all(told.values())
    assert "cut.sentences" in told


def test_thresholds_decide():
    assert deciding(Checks()) != deciding(Checks(words={"slack": 0.5}))
    assert pickle.loads(pickle.dumps(Checks())) == Checks()


@pytest.mark.parametrize("piece", quick(["-", "1999 ", "一"], 1))
def test_a_long_text_of_one_thing_takes_no_minutes(piece):
    """Each of these took a time that grew with the square of the length: up to 20 s here."""
    said = Said(piece * (30_000 // len(piece)), language="en", facts={"year": "1999"})
    began = time.process_time()
    assert examine(said, Checks()).fault is not None
    assert time.process_time() - began < 4
