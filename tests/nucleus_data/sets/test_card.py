import json
import re
import sys

import pyarrow as pa
import pytest
from huggingface_hub import DatasetCard

from nucleus_data.errors import RequestError
from nucleus_data.sets import croissant as module
from nucleus_data.sets.card import Bucket, Captions, Shown, plain, readme
from nucleus_data.sets.facts import FACTS, Checked, Facts, Rule, most, read_facts
from nucleus_data.sets.features import IMAGE
from nucleus_data.sets.set_card import shown_of, write_card
from tests.support.sets import EDITION, make_set

EVIL = (
    '---\n# big | [x](http://evil.org) <script>alert("1")</script> `code` www.evil.org '
    "\x1b[31m\u202e"
)
FACTS_OF = Facts(
    selection="0123456789abcdef",
    states={"kept": 9, "rejected": 4, "duplicate": 1},
    rules=(
        Rule("small", "least(width, height) < 256", "reject", "too small", 4),
        Rule(EVIL, f"source.caption = '{EVIL}'", "flag", EVIL),
    ),
    duplicates=True,
    settings={"format": "jpeg", "quality": 95},
    sources={EVIL: 8, "web": 1},
    licences={"": 7, "CC|BY": 2},
    left_out={"256": {"too_small": 3, EVIL: 1}},
    checked=(Checked("short@12345678", 8, 2, 1, {"loop": 3, EVIL: 1}),),
)
CAPTIONS = Captions(EVIL, EDITION, ["source", "short@12345678"], 2, {"web": 3, EVIL: 1}, True)


def shown(facts=FACTS_OF, **changes):
    fields = [pa.field("id", pa.string()), pa.field("image", IMAGE), pa.field("text", pa.string())]
    buckets = [Bucket(256, "1x1", 256, 256, 1200, 100), Bucket(512, "4x3", 592, 448, 300, 50)]
    values = {"name": "train", "hash": "abcd", "kind": "parquet", "buckets": buckets}
    return Shown(**{**values, "fields": fields, "captions": [CAPTIONS], "facts": facts, **changes})


def test_a_card_says_all_that_is_known():
    card = DatasetCard(readme(shown()))
    assert card.data.pretty_name == "train"
    assert card.data.size_categories == ["1K<n<10K"]
    first, second = card.data.configs
    assert (first["config_name"], second["config_name"]) == ("512", "256")
    assert first["default"] is True
    assert first["data_files"] == [{"split": "train", "path": "512/*/*.parquet"}]
    assert [i["config_name"] for i in card.data.dataset_info] == ["512", "256"]
    text = card.text.replace("\\", "")
    for line in (
        "| 256 | 1x1 | 256 x 256 | 1,200 | 100 |",
        "| 256 | too_small | 3 |",
        "| web | 1 |",
        "| (none stated) | 7 |",
        "| CC|BY | 2 |",
        "14 records = 9 kept + 4 rejected + 1 duplicate (selection 0123456789abcdef).",
        "Of duplicates the best one is kept.",
        "| small | reject | least(width, height) < 256 | too small | 4 |",
        "2 samples have no caption.",
        "| web | 3 | 75.0% |",
        "| short@12345678 | 8 | 2 | 1 | loop 33.33%, ",
        "- How pictures were made: format jpeg, quality 95.",
    ):
        assert line in text, line


def test_texts_of_others_are_no_markup_in_a_card():
    card = readme(shown(name="x"))
    head, _, text = card.removeprefix("---\n").partition("\n---\n")
    assert "\x1b" not in card
    assert "\u202e" not in card
    # Each of its characters that could be markup stands behind a backslash.
    assert not re.search(r"(?<!\\)[<>](script|/script)", text)
    assert not re.search(r"(?<!\\)\[x", text)
    assert "://evil" not in text
    assert "www.evil" not in text
    assert "evil" not in head
    assert all(
        line.count("|") - line.count("\\|") in (3, 4, 6)
        for line in text.split("\n")
        if line[:1] == "|"
    )
    assert text.count("\n# ") == 1, "one title"
    assert plain("a" * 2000) == "a" * 1000 + "\\.\\.\\."
    assert plain("a\nb") == "a\\\\nb"


def test_facts_come_back_as_they_were_and_of_many_values_the_most_frequent_are_told(tmp_path):
    assert Facts.decode(json.loads(FACTS_OF.encode())) == FACTS_OF
    assert Facts.decode({"later": 1, "rules": [{"name": "a", "where": "b", "later": 2}]}) == Facts(
        rules=(Rule("a", "b"),)
    )
    counts = {str(i): i for i in range(60)}
    found = most(counts)
    assert next(iter(found.items())) == ("59", 59)
    assert len(found) == 51
    assert sum(found.values()) == sum(counts.values())
    made = make_set(tmp_path / "set", {"64/1x1": 1})
    assert read_facts(made) == Facts()
    made.store.put(FACTS, FACTS_OF.encode())
    assert read_facts(made) == FACTS_OF


@pytest.mark.slow
def test_a_set_has_a_card_of_its_tars_and_editions(tmp_path):
    made, said = make_set(tmp_path / "set"), []
    write_card(made, "train", said.append)
    card = DatasetCard.load(tmp_path / "set/README.md")
    (config,) = card.data.configs
    assert config["data_files"] == [{"split": "train", "path": "64/*/*.tar"}]
    (info,) = card.data.dataset_info
    assert [f["name"] for f in info["features"]] == ["jpg", "json", "__key__", "__url__"]
    names = [f["name"] for f in info["features"][1]["struct"]]
    assert {"id", "licence", "crop"} < set(names)
    assert not {"captions", "caption_sources"} & set(names)
    assert "2 samples have no caption" in card.text
    assert shown_of(made, "train").samples(64) == 11


def test_without_mlcroissant_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    with pytest.raises(RequestError, match=r"pip install 'nucleus-data\[card\]'"):
        module.croissant(shown(), {})
    said = []
    write_card(make_set(tmp_path / "set", {"64/1x1": 1}), "train", said.append)
    assert len(said) == 1
    assert (tmp_path / "set/README.md").exists()
    assert not (tmp_path / "set/croissant.json").exists()
