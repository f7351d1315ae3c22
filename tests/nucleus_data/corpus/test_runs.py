import pytest

from tests.support import curated
from tests.support.stepped import BARE, curate, stage_lines, three_shards


@pytest.fixture
def corpus(tmp_path):
    return three_shards(tmp_path / "c")


def test_a_later_run_takes_over_what_earlier_ones_say_of_their_stages(corpus):
    first, _ = curate(corpus)
    second = curated.run(corpus.uri, "shard", BARE)
    second.do("shard")
    second.folder.inherit(("inspect", "dedup", "select", "shard"))
    lines = stage_lines(second)
    assert [line["stage"] for line in lines] == ["inspect", "dedup", "select", "shard"]
    assert lines[0] == first.lines[0]
