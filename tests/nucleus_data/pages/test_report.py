import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from nucleus_data.corpus import Corpus
from nucleus_data.pages import content, queries, write_report
from tests.support.reported import (
    EVIL,
    EVIL_NAME,
    HASH,
    NOON,
    SELECTION,
    SET,
    TONE,
    Made,
    Text,
    make,
    whole_corpus,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def whole(tmp_path) -> Made:
    return whole_corpus(tmp_path / "corpus")


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


def test_nothing_from_outside_is_interpreted_or_fetched(whole):
    page = whole.page(SET)
    parsed = Text(page)
    assert "<script" not in page
    assert EVIL in parsed.text
    assert EVIL_NAME in parsed.text
    assert "OSError: <gone>" in parsed.text
    for tag, attributes in parsed.tags:
        assert tag not in {"script", "iframe", "object", "form"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert "hunter2" not in page
    assert not re.search(r"@import|url\(", page)


def test_clusters_show_the_survivor_first_with_distances(whole):
    total, (cluster,) = queries.clusters(queries.Tables(whole.corpus, whole.tables), 5, 5)
    assert total == 1
    assert cluster.kept.id == whole.ids[0]
    found = {m.decision.id: (m.distance, m.distance256, m.exact) for m in cluster.members}
    assert found == {whole.ids[5]: (3, 21, False), whole.ids[6]: (0, 0, True)}
    text = Text(whole.page()).text
    section = text[text.index("2 copies dropped for 1 kept picture") :]
    assert section.index("kept dir/") < section.index("distance 3 · 21")
    assert "exact copy" in section


def test_pictures_are_shown_and_failures_have_placeholders(whole):
    parsed = Text(whole.page())
    shown = {a["alt"] for tag, a in parsed.tags if tag == "img"}
    assert {"4.jpg", "5.jpg", EVIL_NAME} <= shown
    assert "broken.gif" not in shown
    assert "killer.jpg" not in shown, "what failed is not decoded again"
    assert re.search(r"(truncated|corrupt): .* broken.gif", parsed.text)
    assert "http_404: no such <page>" in parsed.text


@pytest.mark.slow
def test_a_changed_tar_costs_its_pictures_not_the_page(whole):
    tar = whole.corpus.store.read("images/000000.tar")
    whole.corpus.store.put("images/000000.tar", tar[:-1] + b"x")
    assert whole.page().count("data:image/jpeg") > 3, "a byte after the pictures changes none"
    whole.corpus.store.put("images/000000.tar", tar.replace(b"\xff\xd9", b"\xff\xd8"))
    page = whole.page()
    assert "data:image/jpeg" not in page
    assert "no longer has the SHA-256" in page
    whole.corpus.store.remove("images/000000.tar")
    assert "images/000000.tar is missing" in whole.page()


def test_captions_stand_with_their_origin(whole):
    text = Text(whole.page()).text
    assert "captions 2 in 1 variant" in text
    assert "a plain caption" in text
    assert "synthesized · nano · prompt short · 9 tokens · vllm 0.11.0" in text
    assert "length: cut off" in text
    assert "mean nothing" in text
    assert "written with transformers" not in text
    (variant,) = content.variants(queries.Tables(whole.corpus, whole.tables))
    assert (variant.captions, variant.failed, variant.cut) == (2, 1, 1)
    assert variant.words == pytest.approx(2.0), "one word of markup, three words"


def test_transformers_and_a_real_model_are_told_apart(whole):
    del whole.tables["caption.short"]
    whole.write_caption(
        "long", [whole.caption(0, "A stamp.", model="Qwen/Qwen3-VL", engine="transformers")]
    )
    text = Text(whole.page()).text
    assert "long: written with transformers" in text
    assert "mean nothing" not in text


def test_training_set_is_shown_and_accounted_for(whole):
    parsed = Text(whole.page(SET))
    assert "3 kept = 2 training samples + 1 left out" in parsed.text
    assert "2 samples in 3 training shards, 4.2 kB" in parsed.text
    assert "no caption 1" in parsed.text
    buckets = content.buckets(whole.corpus, SET)
    assert [(b.aspect, b.samples, b.tars, b.size) for b in buckets] == [
        ("1x1", 1, 2, 1200),
        ("4x3", 1, 1, 3000),
    ]
    whole.corpus.store.remove(f"{SET}/left_out.parquet")
    assert "1 unaccounted for" in Text(whole.page(SET)).text


def test_training_seconds_and_failures(whole):
    grid = np.full((2 * 8 + 3, 2 * 8 + 3, 3), 255, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grid).save(buffer, "PNG")
    folder = "runs/first/quick_train"
    whole.corpus.store.put(f"{folder}/samples.png", buffer.getvalue())
    facts = {"rows": ["a red <circle>", "a dog"], "columns": [1, 2], "cell_height": 8, "padding": 1}
    whole.corpus.store.put(f"{folder}/samples.json", json.dumps(facts).encode())
    summary = {"preset": "nano", "parameters": 1234567, "steps": 50}
    whole.corpus.store.put(f"{folder}/summary.json", json.dumps(summary).encode())
    parsed = Text(whole.page())
    text = parsed.text
    assert "preset nano · 1,234,567 parameters · 50 steps" in text
    assert "final loss 1.25 held-out" in text
    assert "1 loss not finite" in text
    assert "a red <circle>" in text
    assert sum(1 for _, a in parsed.tags if str(a.get("src")).startswith("data:image/png")) == 2
    assert "4.0 s in all stages" in text
    assert "inspect shard 7: OSError" in text
    assert "1 line of the run's files cut off" in text
    assert "nucleus all corpus=c storage_options.secret=… x=1" in text


def test_signals_count_kept_against_all(whole):
    (signal,) = content.signals(queries.Tables(whole.corpus, whole.tables))
    assert (signal.name, signal.low, signal.high) == ("luma_mean", 0.0, pytest.approx(7 / 9))
    assert (sum(signal.every), sum(signal.kept)) == (8, 3)
    assert signal.every[0] == signal.every[-1] == 1


def test_the_page_is_a_function_of_the_corpus(whole):
    first = whole.page(SET)
    assert whole.page(SET) == first
    again = Corpus(whole.corpus.uri)
    write_report(again, "first", whole.tables, training_set=SET, made_at=NOON, thumbnails=3)
    assert again.store.read("runs/first/report.html").decode() == first
    assert "2026-01-31 12:00 UTC" in first


@pytest.mark.parametrize("step", ["empty", "records", "inspected", "selected"])
def test_what_is_missing_is_said(tmp_path, step):
    made = make(tmp_path / "corpus", [] if step == "empty" else ["a.jpg", None])
    if step in ("inspected", "selected"):
        made.write("inspect.tone", TONE, [{**made.key(0), "luma_mean": 0.5}])
    if step == "selected":
        decisions = [{"state": "kept"}, {"state": "failed", "reasons": ["http_404"]}]
        made.write("selection", SELECTION, [{**made.key(n), **d} for n, d in enumerate(decisions)])
    made.tables["caption.short"] = HASH  # pinned by the plan, no row yet
    text = Text(made.page("sets/main/unfinished")).text
    assert "has no manifest" in text
    assert "No model was trained" in text
    assert "No stage of this run has finished" in text
    assert ("No record is decided yet" in text) == (step != "selected")
    assert ("No caption has been written yet" in text) == (step == "selected")
    assert ("The corpus has no records" in text) == (step == "empty")
    if step == "selected":
        assert "2 records = 1 kept + 1 failed" in text
        assert "This run made no training set yet" in Text(made.page()).text


def test_a_partial_selection_leaves_the_rest_undecided(tmp_path):
    made = make(tmp_path / "corpus", ["a.jpg", "b.jpg", "c.jpg"])
    made.write("selection", SELECTION, [{**made.key(0), "state": "kept"}])
    assert "3 records = 1 kept + 2 undecided" in Text(made.page()).text


def test_quotes_in_paths_and_reasons_are_only_text(tmp_path):
    made = make(tmp_path / "o'brien", ["a.jpg"])
    reason = 'it\'s "odd" <b>'
    row = {**made.key(0), "state": "rejected", "reasons": [reason], "conditions": ["a = 'b'"]}
    made.write("selection", SELECTION, [row])
    parsed = Text(made.page())
    assert reason in parsed.text
    assert [a["alt"] for tag, a in parsed.tags if tag == "img"] == ["a.jpg"]


def test_an_object_store_gives_the_same_page(tmp_path):
    pages = []
    for uri in (str(tmp_path / "corpus"), f"memory://{tmp_path.name}"):
        made = make(uri, ["a.jpg", None], ["a caption", None])
        decisions = [{"state": "kept"}, {"state": "failed", "reasons": ["http_404"]}]
        made.write("selection", SELECTION, [{**made.key(n), **d} for n, d in enumerate(decisions)])
        made.write_caption("short", [made.caption(0, "a red field")])
        pages.append(made.page().replace(uri, "CORPUS"))
    assert "data:image/jpeg" in pages[0]
    assert pages[0] == pages[1]
