"""Made captions and their pictures, with a made-up model."""

import re

import numpy as np
import pytest

from nucleus_data.engines.calibration import Calibration
from nucleus_data.errors import RequestError
from nucleus_data.line.lines import LINES
from nucleus_data.line.steps import without_missing
from nucleus_data.stages.score import models
from nucleus_data.views.captions_diff import diff, lines
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.captioned_sets import import_texts
from tests.support.curated import picture
from tests.support.embedded import FakeClip, model_folder
from tests.support.scored import stored, unit, write_vectors

SHORT = "score_captions.variants=[short]"


@pytest.fixture
def corpus(tmp_path):
    made = small_corpus(tmp_path / "c", shards=0)
    images = {f"{i}.png": picture(i) for i in range(4)}
    write_shard(made, 0, images, dict.fromkeys(images, "a boat"))
    curated.inspect(made)
    return made


@pytest.fixture
def settings(tmp_path):
    model_folder(tmp_path / "clip")
    return (f"embed.model={tmp_path / 'clip'}", "score.heads=null", "select.rules={}", SHORT)


@pytest.fixture
def clip(monkeypatch):
    made = FakeClip()
    monkeypatch.setattr(models, "load_clip", lambda *given, **options: made)
    return made


def words_of(html):
    """What a reader sees of a piece of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL))


def begun(corpus, *settings):
    run = curated.run(corpus.uri, "score", *settings)
    run.do("dedup", "select")
    return run


def captioned(run, captions, variant="short"):
    ids = run.corpus.records.read(0).column("id").to_pylist()
    by_id = {ids[row]: text for row, text in captions.items()}
    curated.write_captions(run.corpus, run.tables[f"caption.{variant}"], variant, by_id)


def test_made_captions_are_compared_with_stored_vectors(corpus, settings, clip):
    run = begun(corpus, *settings)
    images, _ = write_vectors(run, 0, 1, 2, broken=(2,))
    captioned(run, {0: "an eel", 1: None, 2: "an oar", 3: "a sea"})
    run.do("score_captions")
    assert clip.texts_asked == ["an eel", "an oar", "a sea"]
    assert run.lines[-1]["extra"] == {"waiting for embed.image": 1}
    vectors, match = stored(run, "embed.caption.short"), stored(run, "embed.match.short")
    assert list(vectors) == [0, 1, 2, 3]
    assert list(match) == [0, 1, 2]  # the vector of picture 3 may come
    other = np.array(vectors[0]["short_embedding"], np.float32)
    expected = float(unit(images[0]) @ other / np.linalg.norm(other))
    assert match[0]["short_cosine"] == expected
    assert [match[row]["error"] for row in (1, 2)] == ["no_caption", "truncated_header"]
    write_vectors(run, 3)
    run.do("score_captions")
    assert stored(run, "embed.match.short")[3]["short_cosine"] is not None
    assert len(clip.texts_asked) == 3


def test_captions_of_two_variants_are_compared(corpus, settings, clip):
    both = "caption.variants={short: {prompt: short}, long: {prompt: long}}"
    run = begun(corpus, *settings[:3], both, "score_captions.variants=[short,long]")
    write_vectors(run, 0, 1, 2, 3)
    captioned(run, {0: "an eel", 1: "an oar", 2: None, 3: "a sea"})
    captioned(run, {0: "an oar", 1: "an oar", 2: "a sea"}, "long")
    run.do("score_captions")
    agree = stored(run, "embed.agree.long.short")
    assert list(agree) == [0, 1, 2], "the other caption of picture 3 may come"
    one, other = (
        unit(np.array(stored(run, f"embed.caption.{v}")[0][f"{v}_embedding"], np.float32))
        for v in ("long", "short")
    )
    assert agree[0]["long_vs_short_cosine"] == pytest.approx(float(one @ other), abs=1e-6)
    assert agree[1]["long_vs_short_cosine"] == pytest.approx(1, abs=1e-6)
    assert (agree[2]["error"], agree[2]["long_vs_short_cosine"]) == ("no_caption", None)
    # A pair needs no caption embedded again.
    captioned(run, {3: "an eel"}, "long")
    asked = len(clip.texts_asked)
    run.do("score_captions")
    assert clip.texts_asked[asked:] == ["an eel"]
    assert list(stored(run, "embed.agree.long.short")) == [0, 1, 2, 3]


def test_a_calibration_embeds_no_caption_again(corpus, settings, clip, tmp_path):
    run = begun(corpus, *settings)
    write_vectors(run, 0, 1, 2, 3)
    captioned(run, dict.fromkeys(range(4), "an eel"))
    run.do("score_captions")
    revision = model_folder(tmp_path / "clip")
    content = Calibration("clip", revision, (-1.0, 1.0), (0.0, 1.0)).content()
    again = begun(corpus, *settings, f"score.calibration={{main: {content}}}")
    asked = len(clip.texts_asked)
    again.do("score_captions")
    assert len(clip.texts_asked) == asked
    assert again.tables["embed.caption.short"] == run.tables["embed.caption.short"]
    for row in stored(again, "embed.match.short").values():
        expected = (1 + row["short_cosine"]) / 2
        assert row["short_similarity"] == pytest.approx(expected, abs=1e-6)


def test_a_recipe_without_made_captions_has_neither_table_nor_step(corpus, settings):
    stages = curated.recipe(corpus.uri, *settings[:3]).stages()
    assert not stages["score_captions"].tables()
    assert "score_captions" not in without_missing(stages, LINES["all"].steps)
    with pytest.raises(RequestError, match=r"score_captions\.variants is not set"):
        curated.run(corpus.uri, "score", *settings[:3]).do("score_captions")


def test_a_variant_that_is_none_is_refused(corpus, settings):
    with pytest.raises(
        RequestError, match="names 'verbose', which is neither a caption variant of"
    ):
        curated.run(corpus.uri, "score", *settings, "score_captions.variants=[verbose]")


@pytest.mark.slow
def test_older_and_imported_captions_are_compared(corpus, settings, clip, tmp_path):
    run = begun(corpus, *settings)
    write_vectors(run, 0, 1, 2, 3)
    captioned(run, {0: "an eel", 1: "an oar"})
    run.do("score_captions")
    old, asked = run.tables["caption.short"], len(clip.texts_asked)
    ids = corpus.records.read(0).column("id").to_pylist()
    alt = import_texts(corpus, tmp_path, {ids[2]: "a sea", ids[3]: "an elk"})
    # The recipe's `short` is another one by now; what was computed for it then is not again.
    later = begun(
        corpus,
        *settings[:3],
        "caption.variants={short: {prompt: short, max_tokens: 9}}",
        f"score_captions.variants=[alt, short@{old[:8]}]",
    )
    later.do("score_captions")
    assert clip.texts_asked[asked:] == ["a sea", "an elk"]
    assert later.lines[-1]["extra"] == {
        "waiting for caption.alt": 2,
        "waiting for caption.short": 2,
    }
    assert later.tables[f"embed.match.short@{old[:8]}"] == run.tables["embed.match.short"]
    assert later.tables["caption.alt"] == alt["config_hash"]
    match = stored(later, "embed.match.alt")
    assert sorted(match) == [2, 3]
    assert match[2]["alt_cosine"] is not None
    assert ("embed.match.alt", "alt_cosine") in later.pins.signals()
    assert not [name for table, name in later.pins.signals() if "@" in table]


@pytest.mark.slow
def test_two_tables_of_a_variant_wait_each_for_its_own(corpus, settings, clip):
    run = begun(corpus, *settings)
    write_vectors(run, 0, 1, 2, 3)
    captioned(run, {0: "an eel", 1: "an oar", 2: "a sea"})
    old = run.tables["caption.short"]
    again = "caption.variants={short: {prompt: short, max_tokens: 9}}"
    later = begun(corpus, *settings[:3], again, f"score_captions.variants=[short, short@{old}]")
    captioned(later, {3: "an elk"})
    later.do("score_captions")
    assert sorted(stored(later, "embed.match.short")) == [3]
    assert sorted(stored(later, f"embed.match.short@{old}")) == [0, 1, 2]


def drawn(section, css, bins):
    """The share of each bin in a chart's line; at least one is empty."""
    (path,) = re.findall(f'<path class="line {css}" d="M([^"]*)"/>', section)
    numbers = [float(number) for number in path.split()]
    assert numbers[::2] == sorted(numbers[::2])
    heights = np.array(numbers[1::2])
    assert len(heights) == bins
    return (heights.max() - heights) / (heights.max() - heights).sum()


@pytest.mark.parametrize(("kind", "low"), [("cosine", -1.0), ("similarity", 0.0)])
def test_the_page_shows_how_both_sets_match_their_pictures(
    corpus, settings, clip, tmp_path, kind, low
):
    revision = model_folder(tmp_path / "clip")
    content = Calibration("clip", revision, (-1.0, 1.0), (0.0, 1.0)).content()
    calibrated = [f"score.calibration={{main: {content}}}"] * (kind == "similarity")
    ids = corpus.records.read(0).column("id").to_pylist()
    import_texts(corpus, tmp_path, dict(zip(ids, ("zoo", "a sea", "oar", "eel"), strict=True)))
    scored = "score_captions.variants=[short, alt]"
    run = begun(corpus, *settings[:3], *calibrated, scored)
    write_vectors(run, 0, 1, 2, 3)
    captioned(run, {0: "an eel", 1: "an oar", 2: "a sea"})  # none of picture 3
    run.do("score_captions")
    found = diff(run.run, "short", "alt", tmp_path / "page.html", 2)
    scores = {
        side: [stored(run, f"embed.match.{name}")[row][f"{name}_{kind}"] for row in range(3)]
        for side, name in (("first", "short"), ("second", "alt"))
    }
    higher = sum(b > a for a, b in zip(*scores.values(), strict=True))
    first, second = (f"{np.mean(scores[side]):.3f}" for side in scores)
    page = (tmp_path / "page.html").read_text("utf-8")
    overview, section = page.split('<section id="similarity">')
    assert f"{kind} {first} → {second} with the picture, of 3 pairs" in words_of(overview)
    section = section.split("</section>")[0]
    shown = words_of(section)
    told = f"the second is higher for {higher} and lower for {3 - higher} of 3 pairs."
    assert f"With the picture, by the stored scores: {told}" in shown
    assert f"{kind} with the picture % of pairs" in shown
    assert ("-0.5" in shown.split("short alt")[0]) == (low < 0), "the axis begins at its lowest"
    for side, css in (("first", "line-a"), ("second", "line-b")):
        bins, _ = np.histogram(scores[side], 20, (low, 1.0))
        assert found["similarity"]["bins"][side] == bins.tolist()
        of_chart = section.split('<div class="card scroll">')[1]
        assert drawn(of_chart, css, 20) == pytest.approx(bins / 3, abs=0.002)
    assert any(
        line.startswith(f"{kind} with the picture: {first} -> {second}; higher for {higher} of 3, ")
        for line in lines(found)
    )


@pytest.mark.slow
def test_captions_side_by_side_with_what_is_stored_of_them(corpus, settings, clip, tmp_path):
    ids = corpus.records.read(0).column("id").to_pylist()
    import_texts(corpus, tmp_path, dict.fromkeys(ids, "a sea"))
    run = begun(corpus, *settings[:3], "score_captions.variants=[short, alt]")
    write_vectors(run, 0, 1, 2, 3)
    captioned(run, dict.fromkeys(range(4), "an eel"))
    run.do("score_captions")
    # Another run, which scores nothing, finds what that one stored.
    found = diff(begun(corpus, *settings[:3]).run, "short", "alt", None, 2)
    short, alt = (stored(run, f"embed.match.{v}") for v in ("short", "alt"))
    for side, rows, column in (("first", short, "short_cosine"), ("second", alt, "alt_cosine")):
        mean = np.mean([row[column] for row in rows.values()])
        assert found["similarity"]["mean"][side] == pytest.approx(mean, abs=1e-6)
    higher = sum(alt[row]["alt_cosine"] > short[row]["short_cosine"] for row in short)
    assert (found["similarity"]["pairs"], found["similarity"]["higher"]) == (4, higher)
    vectors = [np.array(clip.texts([text])[0], np.float32) for text in ("an eel", "a sea")]
    assert found["vectors"]["mean"] == pytest.approx(unit(vectors[0]) @ unit(vectors[1]), abs=1e-3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[source]", "contains 'source', which the stage score handles"),
        ("[short, alts]", "names 'alts', which is neither a caption variant of the recipe"),
        ("[short@ffffffff]", "but there is no such caption table"),
    ],
)
def test_captions_that_are_not_there_are_refused(corpus, settings, given, said):
    with pytest.raises(RequestError, match=said):
        curated.run(corpus.uri, "score", *settings[:3], f"score_captions.variants={given}")
