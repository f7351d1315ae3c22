import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.caption.check import check_upstream, describe
from nucleus_data.stages.caption.prompts import VERSIONS
from nucleus_data.stages.caption.settings import CaptionSettings

UPSTREAM = ("source.caption", "source.title", "source.year")


def asking(text):
    return CaptionSettings(variants={"rich": {"text": text}})


def test_a_question_about_a_column_that_there_is_not_is_refused():
    check_upstream(asking("Of {caption}\n{source.title}, {source.year}\nDescribe it."), UPSTREAM)
    said = (
        r"caption.variants.rich: the text uses {source.titel}, but no record of the corpus has this"
        r" column; available: caption, title, year. Did you mean 'title'\?"
    )
    with pytest.raises(RequestError, match=said):
        check_upstream(asking("{source.titel}\nDescribe it."), UPSTREAM)
    with pytest.raises(RequestError, match="available: none"):
        check_upstream(asking("{source.titel}\nDescribe it."), ())


def test_it_is_said_which_version_of_a_prompt_is_asked(monkeypatch):
    monkeypatch.setitem(VERSIONS, "short@2", "Another text.")
    variants = {
        "long": {"prompt": "long"},
        "short": {"prompt": "short"},
        "brief": {"prompt": "short_from", "from": "long"},
        "mine": {"prompt": "tags", "text": "What is it?"},
    }
    assert describe(CaptionSettings(variants=variants)) == (
        "long (long@1), short (short@1; short@2 is available),"
        " brief (short_from@1, from long), mine (tags)"
    )
