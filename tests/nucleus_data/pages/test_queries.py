import pytest

from nucleus_data.pages import queries
from nucleus_data.pages.clusters import clusters
from tests.support.reported import SELECTION, Text, make


def test_sums_add_up_and_every_reason_is_counted(whole):
    text = Text(whole.page()).text
    assert "10 records = 3 kept + 2 rejected + 2 duplicate + 2 failed + 1 pending" in text
    assert "do not add up" not in text
    found = {r.name: r for r in queries.reasons(queries.Tables(whole.corpus, whole.tables))}
    assert (found["small"].count, found["small"].alone) == (2, 1)
    assert (found["dark"].count, found["dark"].alone) == (1, 0)
    assert found["dark"].condition == "luma_mean < 0.05"
    assert (found["http_404"].state, found["http_404"].retryable) == ("failed", 1)
    for words in (
        "width < 64",
        "width 48",
        "luma_mean 0.0123 also small",
        "embed.siglip",
        "soft",
        "blur",
    ):
        assert words in text


@pytest.mark.slow
def test_a_selection_of_other_records_does_not_add_up(whole):
    stranger = {"shard": 3, "row": 0, "id": "f" * 32, "state": "kept"}
    whole.write("selection", SELECTION, [stranger])
    text = Text(whole.page()).text
    assert "10 records ≠" in text
    assert "1 decisions without a record" in text
    assert "do not add up" in text


def test_a_duplicate_of_nothing_kept_is_told(whole):
    extra = {"shard": 1, "row": 0, "id": "e" * 32, "state": "duplicate", "duplicate_of": "d" * 32}
    whole.write("selection", SELECTION, [extra])
    assert "each duplicate names a kept record: 1 do not" in Text(whole.page()).text


def test_clusters_show_the_survivor_first_with_distances(whole):
    total, (cluster,) = clusters(queries.Tables(whole.corpus, whole.tables), 5, 5)
    assert total == 1
    assert cluster.kept.id == whole.ids[0]
    found = {m.decision.id: (m.distance, m.distance256, m.exact) for m in cluster.members}
    assert found == {whole.ids[5]: (3, 21, False), whole.ids[6]: (0, 0, True)}
    text = Text(whole.page()).text
    section = text[text.index("2 copies dropped for 1 kept picture") :]
    assert section.index("kept dir/") < section.index("distance 3 · 21")
    assert "exact copy" in section


def test_a_partial_selection_leaves_the_rest_undecided(tmp_path):
    made = make(tmp_path / "corpus", ["a.jpg", "b.jpg", "c.jpg"])
    made.write("selection", SELECTION, [{**made.key(0), "state": "kept"}])
    assert "3 records = 1 kept + 2 undecided" in Text(made.page()).text
