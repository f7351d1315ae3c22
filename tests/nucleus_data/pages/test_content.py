import pyarrow as pa
import pytest

from nucleus_data.corpus.tables import FAILED_SCHEMA
from nucleus_data.pages import content, queries
from nucleus_data.pages.signals import signals
from tests.support.reported import HASH, SET, Text


@pytest.mark.slow
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


@pytest.mark.slow
def test_training_set_is_shown_and_accounted_for(whole):
    parsed = Text(whole.page(SET))
    assert "3 kept = 2 training samples + 1 left out" in parsed.text
    assert "2 samples in 3 training shards, 4.2 kB" in parsed.text
    assert "too_small 1" in parsed.text
    buckets = content.buckets(whole.corpus, SET)
    assert [(b.aspect, b.samples, b.tars, b.size) for b in buckets] == [
        ("1x1", 1, 2, 1200),
        ("4x3", 1, 1, 3000),
    ]
    whole.corpus.store.remove(f"{SET}/left_out.parquet")
    assert "1 unaccounted for" in Text(whole.page(SET)).text


def test_signals_count_kept_against_all(whole):
    (signal,) = signals(queries.Tables(whole.corpus, whole.tables))
    assert (signal.name, signal.low, signal.high) == ("luma_mean", 0.0, pytest.approx(7 / 9))
    assert (sum(signal.every), sum(signal.kept)) == (8, 3)
    assert signal.every[0] == signal.every[-1] == 1


def test_what_a_caption_does_not_say_of_itself_comes_last(whole):
    whole.write_caption("mixed", [whole.caption(0, "a"), whole.caption(1, "b c", model=None)])
    mixed, _ = content.variants(queries.Tables(whole.corpus, whole.tables))
    assert (mixed.captions, mixed.words, mixed.models) == (2, 1.5, ["nano", None])


@pytest.mark.slow
def test_failures_that_may_pass_are_counted_apart(whole):
    # Of picture 1 there is a caption by now; of the variant `long` there is nothing else.
    for variant, rows in {"short": (1, 3, 4), "long": (0, 1)}.items():
        whole.tables.setdefault(f"caption.{variant}", HASH)
        failed = [{**whole.key(n), "reason": "repetition", "detail": "8 words"} for n in rows]
        table = whole.corpus.at(f"caption.{variant}", HASH).failed
        table.append(0, pa.Table.from_pylist(failed, FAILED_SCHEMA), {})
    long, short = content.variants(queries.Tables(whole.corpus, whole.tables))
    assert (long.name, long.captions, long.failed, long.retryable) == ("long", 0, 0, 2)
    assert (short.name, short.captions, short.failed, short.retryable) == ("short", 2, 1, 2)
    text = Text(whole.page()).text
    assert "cut off failed for good failed, may pass" in text
    assert "long 0 \N{EN DASH} 0 0 2 short" in text
    assert "What may pass is tried again by nucleus retry caption" in text


@pytest.mark.slow
def test_without_failures_that_may_pass_nothing_is_said_of_them(whole):
    assert "tried again by" not in Text(whole.page()).text
