from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from nucleus_data.stages.caption.settings import CaptionSettings, in_order


def chained(**parents):
    """Settings of variants that are made from another one, or from the picture."""
    return {
        "variants": {
            name: {"prompt": "short"} if parent == "picture" else {"text": "{made}", "from": parent}
            for name, parent in parents.items()
        }
    }


def test_a_variant_comes_behind_the_one_that_it_is_made_from():
    settings = CaptionSettings(**chained(c="b", b="a", a="picture", d="b", e="picture"))
    assert in_order(settings.variants) == ["a", "b", "c", "d", "e"]
    assert settings.chain("c") == ["c", "b", "a"]
    assert [settings.parent(name) for name in "abc"] == [None, "a", "b"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (chained(a="a"), "in a cycle: a from a; make one of them from: picture"),
        (chained(z="picture", a="b", b="c", c="b"), "in a cycle: b from c from b"),
        (
            chained(a="lng", long="picture"),
            r"a: from is 'lng', .* allowed: picture, long. Did you mean 'long'\?",
        ),
        (chained(picture="picture"), "'picture' is reserved"),
        (chained(source="picture"), "'source' is reserved"),
        (chained(Big="picture"), "lowercase"),
        ({"variants": {}}, "at least one variant"),
        ({"engine": "server"}, "engine: server needs servers.urls, the base URL of each server"),
        ({"attempts": 0}, "greater than or equal to 1"),
        ({"language": "english"}, "must be a two-letter code, such as en"),
    ],
)
def test_wrong_settings_are_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        CaptionSettings(**given)


def test_the_example_of_the_docs_is_a_configuration():
    docs = Path(__file__).resolve().parents[4] / "nucleus_data/docs/captions.md"
    text = docs.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    settings = CaptionSettings.model_validate(yaml.safe_load(text)["caption"])
    assert settings.chain("brief") == ["brief", "long"]
    assert settings.variants["titled"].facts == ["title", "year"]
    assert settings.variants["facts"].schema_text


def test_the_docs_example_of_models_is_a_configuration():
    docs = Path(__file__).resolve().parents[4] / "nucleus_data/docs/captions.md"
    text = docs.read_text(encoding="utf-8").split("```yaml\n")[2].split("```")[0]
    settings = CaptionSettings.model_validate(yaml.safe_load(text)["caption"])
    assert settings.asked_of() == {"": ["long"], "writer": ["short"], "large": ["best"]}
    assert settings.models["large"].servers.urls == ("http://gpu9:8000/v1",)
