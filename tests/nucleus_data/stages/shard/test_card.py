import json

import pytest
from huggingface_hub import DatasetCard

from nucleus_data.sets.facts import read_facts
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.select.settings import RuleSettings
from nucleus_data.stages.shard.card import _found
from tests.support import curated
from tests.support.captioned_sets import SETTINGS, captioned_sets


def test_a_failure_with_the_name_of_a_rule_that_flags_is_not_counted_as_its():
    counts = {"reasons:truncated": 5, "flags:truncated": 2, "reasons:small": 3}
    flags, rejects = RuleSettings(where="truncated", action="flag"), RuleSettings(where="width < 9")
    assert _found(counts, "truncated", flags) == 2
    assert _found(counts, "small", rejects) == 3
    assert _found(counts, "other", rejects) == 0


OVERRIDES = (*SETTINGS, 'select.rules={"wide | wider": "width > 1000"}')


@pytest.mark.slow
def test_a_set_tells_where_it_comes_from_and_how_it_was_chosen_and_of_each_edition(tmp_path):
    corpus, _ = captioned_sets(tmp_path)
    run = curated.run(corpus.uri, "shard", *OVERRIDES, "shard.captions=[source, short]")
    run.do("select", "shard")
    folder = SetFolder(corpus.store, run.training_set)
    facts = read_facts(folder)
    assert facts.selection == run.tables["selection"]
    assert facts.states["kept"] == 8
    (rule,) = facts.rules
    assert (rule.name, rule.where, rule.records) == ("wide | wider", "width > 1000", 0)
    assert facts.sources == {"test": sum(t.samples for t in folder.manifest())}
    assert facts.licences == {"": sum(t.samples for t in folder.manifest())}
    assert facts.settings["format"] == "jpeg"
    (checked,) = facts.checked
    assert checked.captions.startswith("short@")
    assert (checked.given, checked.without) == (7, 1)
    assert checked.found == {"caption_empty": 1}
    before = DatasetCard.load(corpus.store.path(folder.name("README.md"))).text
    assert folder.edition().hash in before
    assert "wide \\| wider" in before

    again = curated.run(corpus.uri, "shard", *OVERRIDES, "shard.captions=[short]")
    again.do("select", "shard")
    assert again.training_set == run.training_set
    after = DatasetCard.load(corpus.store.path(folder.name("README.md"))).text
    assert len(folder.editions()) == 2
    assert all(edition.hash in after for edition in folder.editions())
    assert read_facts(folder).sources == facts.sources
    assert json.loads(facts.encode())["rules"][0]["name"] == "wide | wider"
