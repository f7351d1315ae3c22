import builtins

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.caption.checks import Checks
from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.language import Language, _model

GERMAN = "Ein Hund und eine Katze sitzen auf einer grünen Wiese vor dem Haus."


@pytest.fixture(scope="module")
def checked():
    pytest.importorskip("py3langid")
    return lambda text, language: Language().find(Said(text, language=language))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GERMAN, "en"),
        ("Ein Hund und eine Katze sitzen hier draußen", "en"),  # eight words
        ("Un perro y un gato están sentados en la hierba verde delante de la casa.", "en"),
        ("Собака и кошка сидят на зелёной траве перед домом и смотрят на птиц.", "en"),
        ("一只狗和一只猫坐在房子前面的绿色草地上看着小鸟。", "en"),
        ("A dog and a cat sit on the green grass in front of the house.", "de"),
        ("A dog and a cat sit on the green grass in front of the house.", "zh"),
    ],
)
def test_another_language(checked, text, language):
    assert checked(text, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A dog and a cat sit on the green grass in front of the house.", "en"),
        (GERMAN, "de"),
        (GERMAN, "de-AT"),
        (GERMAN, None),
        ("Ein Hund und eine Katze sitzen hier", "en"),  # seven words
        ("1 2 3 4 5 6 7 8 9 10", "en"),  # no word at all
        ("https://a.example/b " * 8, "en"),
        (f'A sign in a shop window that says "{GERMAN}"', "en"),
        (
            "Sulawesi Hornbill, Rhyticeros cassidix, Tangkoko Batuangus Nature Reserve, Sulawesi",
            "en",
        ),
        ("large striped red ring, small blue square, pencil drawing, teal background, woven", "en"),
        ("En hund og en kat sidder på det grønne græs foran huset i solen.", "nb"),
        ("Uma casa branca com janelas azuis e um jardim cheio de flores.", "pt-BR"),
    ],
)
def test_the_same_or_too_little_to_say(checked, text, language):
    assert checked(text, language) is None


def test_what_is_missing_is_said_at_the_start(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("py3langid"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    _model.cache_clear()
    with pytest.raises(RequestError, match=r"caption.language=en needs py3langid: pip install"):
        Checks().ready("en")
    Checks(language={"action": "off"}).ready("en")
    Checks().ready(None)


@pytest.mark.slow
def test_an_unknown_language_is_refused(checked):
    with pytest.raises(RequestError, match=r"caption.language must be one of .*'xx'"):
        Checks().ready("xx")
