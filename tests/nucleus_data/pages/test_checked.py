import json

import pyarrow as pa
import pytest

from nucleus_data.corpus.tables import FAILED_SCHEMA, KEY_FIELDS, Table
from nucleus_data.pages import queries
from nucleus_data.pages.checked import checked_section
from nucleus_data.stages.caption.checks import Checks
from nucleus_data.stages.caption.checks.on_tables import on_tables
from tests.support.reported import CAPTION, EVIL, HASH, Text

PLAN = {"config": {"caption": {"checks": {name: {} for name in Checks.model_fields}}}}


def write(made):
    """Four captions of three pictures, two mended and one flagged, and two that failed."""
    names = list(Checks.model_fields)
    rows = [
        made.caption(0, "a red ring", checks=names, flags=[], faults=["cut", "cut"]),
        made.caption(1, f"The image {EVIL}", checks=names, flags=["boilerplate"], faults=[]),
        made.caption(2, "a blue ring", checks=names, flags=[], faults=["refusal"]),
        made.caption(3, None, error="upstream_not_text", model=None, engine=None),
    ]
    made.write("caption.checked", CAPTION, rows)
    said = f"8 words repeat (3 attempts); it said {EVIL!r}"
    failed = [
        {**made.key(4), "reason": "repetition", "detail": said},
        {**made.key(5), "reason": "engine_raised", "detail": "of the engine"},
        {**made.key(0), "reason": "cut", "detail": "before it was asked again"},
    ]
    table = Table(made.corpus.store, "caption.checked", HASH).failed
    table.append(0, pa.Table.from_pylist(failed, FAILED_SCHEMA), {})


def test_rates_of_each_check(whole):
    write(whole)
    variant, _ = checked_section(tables(whole), PLAN, ())["variants"]
    assert (variant.variant, variant.asked, variant.again) == ("checked", 4, 2)
    assert [(f.check, f.first, f.mended, f.failed, f.flagged) for f in variant.found] == [
        ("boilerplate", 0, 0, 0, 1),
        ("cut", 1, 1, 0, 0),
        ("refusal", 1, 1, 0, 0),
        ("repetition", 1, 0, 1, 0),
    ]


def test_a_variant_of_which_every_caption_failed_a_check(whole):
    whole.tables["caption.checked"] = HASH
    failed = [{**whole.key(n), "reason": "cut", "detail": "it said a"} for n in (0, 1)]
    table = Table(whole.corpus.store, "caption.checked", HASH).failed
    table.append(0, pa.Table.from_pylist(failed, FAILED_SCHEMA), {})
    section = checked_section(tables(whole), PLAN, ())
    variant, _ = section["variants"]
    (found,) = variant.found
    assert (variant.variant, variant.asked, found.first, found.failed) == ("checked", 2, 2, 2)
    ((_, check, shown),) = section["groups"]
    assert (check, [said for _, said in shown]) == ("cut", ["it said a"] * 2)


@pytest.mark.slow
def test_the_page_shows_what_was_said_and_interprets_nothing(whole):
    write(whole)
    whole.corpus.store.put("runs/first/plan.json", json.dumps(PLAN).encode())
    page = whole.page()
    text = Text(page).text
    assert "checked 4 boilerplate 0 (0.00 %) 0 0 1 cut 1 (25.00 %) 1 0 0" in text
    assert "repetition: checked" in text
    assert "8 words repeat (3 attempts); it said" in text
    assert f"The image {EVIL}" in text, "as text"
    assert EVIL not in page


def test_nothing_was_checked_before_there_were_checks(whole):
    del whole.tables["caption.short"]
    assert checked_section(tables(whole), PLAN, ()) is None


def test_conditions_on_tables_count_records(whole):
    write(whole)
    match = pa.schema([*KEY_FIELDS, ("short_similarity", pa.float32()), ("error", pa.string())])
    rows = [{**whole.key(n), "short_similarity": s} for n, s in enumerate((0.1, 0.9, None))]
    whole.write("embed.match.short", match, rows)
    agree = pa.schema([*KEY_FIELDS, ("long_vs_short_cosine", pa.float32()), match.field("error")])
    rows = [{**whole.key(n), "long_vs_short_cosine": s} for n, s in enumerate((0.0, 0.9, None))]
    whole.write("embed.agree.long.short", agree, rows)
    found = checked_section(tables(whole), PLAN, on_tables(["short", "long"]))["on_tables"]
    assert found == [
        ("far_from_picture", "short_similarity < 0.3", 1),
        ("variants_disagree", "long_vs_short_cosine < 0.5", 1),
    ]


def tables(made):
    return queries.Tables(made.corpus, made.tables)
