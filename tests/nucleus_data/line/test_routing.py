"""Which pictures a caption variant is made of: `where`, `share`, `from`."""

import json
import pickle
import re
from pathlib import Path

import pytest
import yaml

from nucleus_data.errors import RequestError
from nucleus_data.hashing import order_unit
from nucleus_data.line.recipe import FullRecipe, load_recipe
from nucleus_data.stages.caption.stage import Caption
from tests.support import curated
from tests.support.quick import quick
from tests.support.routed import captioning, curated_copy, write_match

REPOSITORY = Path(__file__).resolve().parents[3]
ALL = [f"{shard}/{row}" for shard in range(3) for row in range(2)]


@pytest.fixture
def corpus(tmp_path_factory, tmp_path):
    return curated_copy(tmp_path_factory, tmp_path)


def variants(**given):
    """An override with these variants, as YAML."""
    listed = ", ".join(
        f"{name}: {{prompt: short, text: {name}{text}}}" for name, text in given.items()
    )
    return f"caption.variants={{{listed}}}"


def asked_of(asked, name):
    """Places that a variant was asked about."""
    found = [key.rsplit("/", 1)[0] for key in asked()]
    return [place.removesuffix(f"/{name}") for place in found if place.endswith(f"/{name}")]


@pytest.mark.slow
def test_a_variant_is_asked_only_where_its_condition_is_true(corpus, monkeypatch):
    given = variants(
        all="", first=", where: source.caption LIKE '% 0-%'", none=", where: width < 9"
    )
    made, said, asked = captioning(corpus, monkeypatch, given)
    made.do("caption")
    assert asked_of(asked, "all") == ALL
    assert asked_of(asked, "first") == ["0/0", "0/1"]
    assert asked_of(asked, "none") == []
    assert "6 rows, 6 done" in said[0]
    assert said[1:] == [
        "  caption.first: due for 2; left out: 4 for which `where` is false",
        "  caption.none: due for 0; left out: 6 for which `where` is false",
    ]
    tables = made.lines[-1]["tables"]
    assert tables["caption.first"]["left_out"] == {"where_false": 4}
    assert "left_out" not in tables["caption.all"]
    again, said, asked = captioning(corpus, monkeypatch, given)
    again.do("caption")
    assert asked() == []
    assert "6 rows, 6 already done, 0 done" in said[0]


@pytest.mark.slow
def test_a_record_waits_for_what_its_condition_reads_and_null_does_not_match(corpus, monkeypatch):
    given = variants(low=", where: caption_cosine < 0.2", odd=", where: caption_cosine IS NULL")
    made, said, asked = captioning(corpus, monkeypatch, given)
    write_match(made, {(0, 0): 0.1, (0, 1): 0.3, (1, 0): None})
    made.do("caption")
    assert asked_of(asked, "low") == ["0/0"]
    assert asked_of(asked, "odd") == ["1/0"], "the others are not measured yet: no NULL"
    assert "3 waiting for embed.match" in said[0], "each once, whoever reads it"
    assert said[1] == (
        "  caption.low: due for 1; left out: 1 for which `where` is false, "
        "1 for which `where` is NULL"
    )
    write_match(made, {(2, 0): 0.15, (2, 1): 0.5})
    later, said, asked = captioning(corpus, monkeypatch, given)
    later.do("caption")
    assert asked() == ["2/0/low/0"]
    assert "1 waiting for embed.match" in said[0]


def test_not_a_number_is_no_answer(corpus, monkeypatch):
    made, _, asked = captioning(corpus, monkeypatch, variants(a=", where: caption_cosine > 0.2"))
    write_match(made, {(0, 0): float("nan"), (0, 1): 0.3})
    made.do("caption")
    assert asked() == ["0/1/a/0"]


def test_shares_are_drawn_apart_unless_they_have_one_key(corpus, monkeypatch):
    given = variants(
        a=", share: 0.5",
        b=", share: 0.5",
        c=", share: 0.5, share_key: a",
        d=", share: 0.3, share_key: a",
    )
    made, said, asked = captioning(corpus, monkeypatch, given)
    made.do("caption")
    ids = {
        f"{row['shard']}/{row['row']}": row["id"]
        for shard in range(3)
        for row in corpus.records.read(shard, ["shard", "row", "id"]).to_pylist()
    }
    for name, key, share in (("a", "a", 0.5), ("b", "b", 0.5), ("c", "a", 0.5), ("d", "a", 0.3)):
        drawn = [p for p in ALL if order_unit(f"share:caption.{key}:", ids[p]) < share]
        assert asked_of(asked, name) == drawn
    assert asked_of(asked, "a") == asked_of(asked, "c") != asked_of(asked, "b")
    assert set(asked_of(asked, "d")) <= set(asked_of(asked, "a"))
    assert "outside its share" in said[1]


def test_neither_is_in_the_hash(corpus):
    plain = curated.recipe(corpus.uri, variants(a="")).pins().tables
    given = variants(a=", share: 0.5, share_key: x, where: width > 3")
    assert curated.recipe(corpus.uri, given).pins().tables == plain


CHAIN = (
    "caption.variants={long: {prompt: long, where: source.caption LIKE '% 0-%'}, "
    "short: {prompt: short_from, from: long}}"
)


@pytest.mark.slow
def test_a_child_is_asked_only_where_its_parent_is_or_will_be(corpus, monkeypatch):
    lost = {"0/1/long": {"error": "refused"}}
    made, said, asked = captioning(corpus, monkeypatch, CHAIN, answers=lost)
    made.do("caption")
    assert asked_of(asked, "short") == ["0/0"]
    assert any("caption.short: due for 2; left out: 4 without anything to" in line for line in said)
    # The parent failed for now; the child, which failed with it, is asked once it is there.
    idle, said, asked = captioning(corpus, monkeypatch, CHAIN)
    idle.do("caption")
    assert asked() == []
    assert "1 waiting for caption.long" in said[0]
    again, said, asked = captioning(corpus, monkeypatch, CHAIN, command="retry")
    again.retry("caption")
    assert asked() == ["0/1/long/0", "0/1/short/0"]


@pytest.mark.slow
def test_a_child_is_asked_where_a_parent_is_stored_that_would_not_be_asked_now(corpus, monkeypatch):
    made, _, _ = captioning(corpus, monkeypatch, "caption.variants={long: {prompt: long}}")
    made.do("caption")
    later, _, asked = captioning(corpus, monkeypatch, CHAIN)
    later.do("caption")
    assert asked_of(asked, "short") == ALL
    assert asked_of(asked, "long") == []


@pytest.mark.parametrize(
    ("where", "said"),
    quick(
        [
            (
                "no_such < 3",
                r"caption\.variants\.a\.where: 'no_such < 3' reads 'no_such', which is not",
            ),
            ("width", "has type (bigint|integer); it must be a condition"),
            ("width < 3) FROM (SELECT 1", "must be a single SQL condition"),
            ("random() < 0.5", r"uses random\(\)"),
            ("avg(width) < 3", "is an aggregate"),
            ("width < 'x'", "does not fit the types of its columns"),
            ("source.nothing = 3", "reads 'source.nothing', which is not in any table"),
        ],
        3,
        2,
    ),
)
def test_a_wrong_condition_stops_before_any_model_is_loaded(corpus, where, said, monkeypatch):
    given = f'caption.variants={{a: {{prompt: short, where: "{where}"}}}}'
    with pytest.raises(RequestError, match=said):
        curated.run(corpus.uri, "caption", given, steps=("caption",))
    made, _, asked = captioning(corpus, monkeypatch, given)
    with pytest.raises(RequestError, match=said):
        made.do("caption")
    assert asked() == []


def test_a_condition_on_its_own_captions_would_wait_for_itself(corpus, monkeypatch):
    given = "caption.variants={short: {prompt: short, where: short_cosine < 0.3}}"
    made, _, _ = captioning(corpus, monkeypatch, given, "score_captions.variants=[short]")
    with pytest.raises(RequestError, match="so it would wait for itself"):
        made.do("caption")


def test_a_condition_may_read_the_scores_of_another_variant(corpus, monkeypatch):
    given = (
        "caption.variants={short: {prompt: short}, long: {prompt: long, where: short_cosine < 0.3}}"
    )
    made, said, asked = captioning(corpus, monkeypatch, given, "score_captions.variants=[short]")
    made.do("caption")
    assert asked_of(asked, "long") == []
    assert "6 waiting for embed.match.short" in said[0]


def test_a_limit_counts_records_that_are_asked_about(corpus, monkeypatch):
    given = variants(a=", where: source.caption LIKE '% 2-%'")
    made, _, asked = captioning(corpus, monkeypatch, given, limit=1)
    made.do("caption")
    assert asked() == ["2/0/a/0"]


def test_a_dry_run_says_who_would_be_asked(corpus, monkeypatch):
    given = variants(a=", where: source.caption LIKE '% 2-%'")
    made, said, asked = captioning(corpus, monkeypatch, given, dry_run=True)
    made.do("caption")
    assert asked() == []
    assert said[0] == "caption: 2 rows, 0 already done, 2 to do"
    assert said[1] == "  caption.a: due for 2; left out: 4 for which `where` is false"


def test_the_check_of_a_configuration_tries_conditions(tmp_path):
    from nucleus_data.line.check import check

    given = "caption.variants={a: {prompt: short, where: no_such < 3}}"
    with pytest.raises(RequestError, match="which is not in any table"):
        list(check(load_recipe(curated.NANO, [given])))


@pytest.mark.slow
def test_the_example_of_the_docs_routes_records(corpus, monkeypatch):
    text = (REPOSITORY / "nucleus_data/docs/routing.md").read_text()
    block = re.search(r"^## Routing\n\n```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]
    # The laptop's models have no calibration.
    section = yaml.safe_load(block.replace("caption_similarity", "caption_cosine"))["caption"]
    given = [f"caption.{key}={json.dumps(value)}" for key, value in section.items()]
    made, said, asked = captioning(corpus, monkeypatch, *given, dry_run=True)
    cosines = {(0, 0): 0.66, (0, 1): 0.65, (1, 0): 0.3, (1, 1): 0.29, (2, 0): None, (2, 1): 0.1}
    write_match(made, cosines)
    made.do("caption")
    assert any("mix of 6 records: web 1 (17%, wanted 20%), refined 2" in line for line in said)
    done, _, asked = captioning(corpus, monkeypatch, *given)
    done.do("caption")
    assert asked_of(asked, "refined") == ["0/1", "1/0"]
    assert asked_of(asked, "synthesized") == asked_of(asked, "brief") == ["1/1", "2/0", "2/1"]
    assert asked_of(asked, "short") == asked_of(asked, "tags")


def test_the_routing_of_the_full_recipe_is_sound():
    text = (REPOSITORY / "configs/full/recipe.yaml").read_text()
    lines = [
        line
        for line in text.splitlines()
        if re.search(r"# (refined|synthesized|preserve|mix):", line)
    ]
    assert len(lines) == 4
    routed = "\n".join(
        line.replace("# ", "", 1) if line in lines else line for line in text.splitlines()
    )
    settings = FullRecipe.model_validate(yaml.safe_load(routed)).section(Caption)
    assert settings.variants["refined"].refines
    assert settings.variants["synthesized"].where.endswith("IS NULL")
    assert settings.mix.web == 0.2
    assert settings.preserve == "caption_similarity > 0.65"


def test_workers_are_given_the_condition(corpus, monkeypatch):
    made, _, _ = captioning(corpus, monkeypatch, variants(a=", where: width > 3"))
    made.use_selection()
    job = pickle.loads(pickle.dumps(made.job("caption")))
    assert job.open(0).due["caption.a"].tolist() == [0, 1]
    assert job.conditions["caption.a"].columns == ("inspect.file:width",)
