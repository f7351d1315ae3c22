"""Weights of captions, by the names that a recipe gives them."""

import pytest

from tests.support import curated
from tests.support.captioned_sets import SETTINGS, captioned_sets


@pytest.mark.slow
def test_a_training_calls_captions_as_its_set_does(tmp_path):
    corpus, _ = captioned_sets(tmp_path)

    def trained(*overrides):
        names = "shard.captions=[source, short@01234567, alt]"
        made = curated.run(corpus.uri, "train", *SETTINGS, names, *overrides, dry_run=True)
        made.pin("shard")
        return made.stages["quick_train"]._settings(made.run)

    found = trained(
        "quick_train.captions={short@01234567: 2, source: 1}",
        "quick_train.phases=[{steps: 1}, {steps: 1, captions: {alt: 1, short@0123456789: 3}}]",
    )
    assert found.captions == {"short": 2, "web": 1}
    assert [phase.captions for phase in found.phases] == [None, {"alt": 1, "short": 3}]
    assert trained().captions is None
