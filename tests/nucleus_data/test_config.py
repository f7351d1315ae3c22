from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from nucleus_data import config
from nucleus_data.config import ADDED, deciding, parse_override, read_layers, shipped
from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import FullRecipe, load_recipe
from tests.support.recipes import load


def refused(tmp_path, text="", *overrides):
    with pytest.raises(RequestError) as error:
        load(tmp_path, text, *overrides)
    return str(error.value)


def test_an_unknown_key_is_named_with_its_file_and_what_is_allowed(tmp_path):
    said = refused(tmp_path, "shard:\n  samples_per_tr: 3")
    assert said.startswith(f"shard.samples_per_tr is not a known key ({tmp_path / 'r.yaml'}).")
    assert "Did you mean 'samples_per_tar'? Allowed: aspects, bytes_per_tar, caps," in said


def test_an_unknown_key_of_an_override_is_named_with_the_override(tmp_path):
    said = refused(tmp_path, "shard: {seed: 1}", "shard.sed=3")
    assert "shard.sed is not a known key (override 'shard.sed=3'). Did you mean 'seed'?" in said
    assert "r.yaml" not in said
    said = refused(tmp_path, "", "shrad.seed=3")
    assert "shrad is not a known key (override 'shrad.seed=3'). Did you mean 'shard'?" in said
    said = refused(tmp_path, "shard: {sed: 1}", "shard.seed=3")
    assert f"shard.sed is not a known key ({tmp_path / 'r.yaml'})" in said


def test_what_a_section_says_together_names_the_override_and_not_the_whole_section(tmp_path):
    said = refused(tmp_path, "", "caption.engine=server")
    assert said.startswith("caption: engine: server needs servers.urls, the base URL of each")
    assert said.endswith("[http://gpu1:8000/v1] (override 'caption.engine=server')")


def test_unknown_sections_and_keys_deep_inside_are_named_too(tmp_path):
    assert "inspekt is not a known key" in refused(tmp_path, "inspekt: {}")
    assert "Did you mean 'inspect'?" in refused(tmp_path, "inspekt: {}")
    said = refused(tmp_path, "", "caption.variants.short={prompt: short, max_token: 3}")
    assert "caption.variants.short.max_token is not a known key" in said
    assert "Did you mean 'max_tokens'? Allowed: from, max_tokens, min_tokens," in said
    said = refused(tmp_path, "", "resources.inspect.wrokers=2")
    assert "Did you mean 'workers'? Allowed: actors, memory_gb, num_cpus," in said
    said = refused(tmp_path, "select: {rules: {small: {when: width < 3}}}")
    assert "select.rules.small.when is not a known key" in said
    assert "Allowed: action, reason, where" in said


def test_a_wrong_value_is_named_with_what_was_found_and_what_is_allowed(tmp_path):
    said = refused(tmp_path, "dedup: {distance: four}")
    assert "dedup.distance: input should be a valid integer" in said
    assert f"got 'four' ({tmp_path / 'r.yaml'})" in said
    said = refused(tmp_path, "", "shard.aspects=[1x1, 5x4]")
    assert "shard.aspects: unknown bucket '5x4'; allowed: 1x1, 16x9," in said
    assert "(override 'shard.aspects=[1x1, 5x4]')" in said
    assert "greater than or equal to 1; got 0" in refused(tmp_path, "shard: {samples_per_tar: 0}")
    assert "must be sides of 1 pixel or more, not -64" in refused(
        tmp_path, "shard: {resolutions: [64, -64]}"
    )
    assert "contains an entry twice" in refused(tmp_path, "shard: {aspects: [1x1, 1x1]}")
    said = refused(tmp_path, "", "shard.captions=short")
    assert "shard.captions: input should be a list, such as [a, b]; got 'short'" in said
    assert "'reject' or 'flag'" in refused(
        tmp_path, "select: {rules: {a: {where: x, action: drop}}}"
    )
    assert "select.rules.a.where" in refused(tmp_path, "select: {rules: {a: ''}}")


def test_every_problem_is_told_at_once(tmp_path):
    said = refused(tmp_path, "dedup: {distance: x}\nfoo: 1", "shard.seed=y")
    assert [line.split()[0].rstrip(":") for line in sorted(said.splitlines())] == [
        "dedup.distance",
        "foo",
        "shard.seed",
    ]


def test_a_file_that_is_no_configuration_is_refused(tmp_path):
    with pytest.raises(RequestError, match="there is no configuration file"):
        load_recipe(tmp_path / "absent.yaml")
    assert "is not valid YAML" in refused(tmp_path, "a: [")
    assert "must contain keys and values, but it contains a list" in refused(tmp_path, "- a")
    assert load(tmp_path, "") == FullRecipe()


def test_overrides_are_yaml_or_text():
    assert parse_override("shard.resolutions=[64, 128]") == (("shard", "resolutions"), [64, 128])
    assert parse_override("a=") == (("a",), None)
    assert parse_override("a=true")[1] is True
    assert parse_override("corpus=s3://b/c?x=1")[1] == "s3://b/c?x=1"
    sql = "select.rules.r=format NOT IN ('jpeg') AND width % 2 = 0"
    assert parse_override(sql) == (
        ("select", "rules", "r"),
        "format NOT IN ('jpeg') AND width % 2 = 0",
    )
    assert parse_override("a='x' || format = 'y'")[1] == "'x' || format = 'y'"  # is no YAML
    for wrong in ("corpus", "=3", " =3"):
        with pytest.raises(RequestError, match=r"is not an override; write key.sub=value"):
            parse_override(wrong)


def test_overrides_go_over_the_file(tmp_path):
    text = "shard: {seed: 1, name: a}\nselect: {rules: {one: width < 3}}"
    recipe = load(tmp_path, text, "shard.seed=2", "select.rules.two=height < 3", "shard.seed=3")
    assert (recipe.shard.seed, recipe.shard.name) == (3, "a")
    assert {n: r.where for n, r in recipe.select.rules.items()} == {
        "one": "width < 3",
        "two": "height < 3",
    }
    said = refused(tmp_path, text, "select.rules.one.where=width < 4")
    assert "'one' is a single value and has no 'where'" in said
    flag = "select.rules.one={where: width < 4, action: flag}"
    assert load(tmp_path, text, flag).select.rules["one"].action == "flag"


def test_a_file_says_only_what_differs_from_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text(
        "dedup: {distance: 3}\nselect: {rules: {small: width < 9, wide: aspect > 3}}\n"
        "shard: {resolutions: [64, 128]}\n"
    )
    top = tmp_path / "top.yaml"
    top.write_text(
        "base: base.yaml\nselect: {rules: {small: null, low: luma_std < 3}}\n"
        "shard: {resolutions: [64]}\n"
    )
    recipe = load_recipe(top, ["select.rules.wide=null"])
    assert recipe.dedup.distance == 3
    assert list(recipe.select.rules) == ["low"]
    assert recipe.shard.resolutions == (64,)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("absent.yaml", r"no configuration file .*absent\.yaml \(the base of .*top\.yaml\)"),
        ("top.yaml", "is based on itself"),
        ("3", "must be a path"),
    ],
)
def test_a_wrong_base_is_said(tmp_path, base, message):
    top = tmp_path / "top.yaml"
    top.write_text(f"base: {base}\n")
    with pytest.raises(RequestError, match=message):
        load_recipe(top)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sigma: float = Field(2.0, description="Width of the blur, in pixels.")
    threads: int = Field(1, description="Threads.", json_schema_extra=config.KEEPS_VALUES)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="A name.")
    inner: Inner = Inner()
    named: dict[str, Inner] = Field({}, description="By name.")
    cache: str = Field("", description="A folder.", json_schema_extra=config.KEEPS_VALUES)


def test_the_nearest_name_is_hinted_at_or_none():
    assert config.nearest("widht", ["height", "width"]) == " Did you mean 'width'?"
    assert config.nearest("zzz", ["height", "width"]) == ""
    assert config.nearest("x", []) == ""


def test_what_keeps_values_enters_no_hash():
    settings = Outer(name="a", cache="/tmp")
    assert config.deciding(settings, {"inner"}) == {"name": "a", "named": {}}
    assert config.deciding(Inner(threads=5)) == {"sigma": 2.0}


def test_any_settings_model_is_loaded(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("name: a\nnamed: {x: {sigma: 1}}\n")
    asked = []

    def check(keys, value, content, override):
        asked.append((keys, value, content["name"], override))

    found = config.load(Outer, file, ["named.x.threads=3", "name=b"], check)
    assert found == Outer(name="b", named={"x": Inner(sigma=1, threads=3)})
    assert asked == [
        (("named", "x", "threads"), 3, "a", "named.x.threads=3"),
        (("name",), "b", "a", "name=b"),
    ]
    with pytest.raises(RequestError, match=r"named\.x\.sigm is not a known key .* Allowed: sigma"):
        config.load(Outer, file, ["named.x.sigm=3"])


def test_every_key_is_described_with_its_default():
    assert list(config.describe(Outer)) == [
        ("name", "required", "A name."),
        ("inner.sigma", "2.0", "Width of the blur, in pixels."),
        ("inner.threads", "1", "Threads."),
        ("named", "{}", "By name."),
        ("named.NAME.sigma", "2.0", "Width of the blur, in pixels."),
        ("named.NAME.threads", "1", "Threads."),
        ("cache", '""', "A folder."),
    ]


class Part(BaseModel):
    old: int = 1
    new: int = Field(2, json_schema_extra=ADDED)


class Grown(BaseModel):
    inner: Part = Part()
    several: dict[str, Part] = {}
    listed: tuple[Part, ...] = ()
    new: Part | None = Field(None, json_schema_extra=ADDED)


def test_what_was_added_enters_no_hash_at_its_default():
    """So that tables and runs that were made before it keep their names."""
    old = {"old": 1}
    content = {"several": {"a": Part()}, "listed": (Part(),)}
    assert deciding(Grown(**content)) == {
        "inner": old,
        "several": {"a": old},
        "listed": [old],
    }
    changed = Part(new=3)
    found = Grown(inner=changed, several={"a": changed}, listed=(changed,), new=Part())
    whole = {"old": 1, "new": 3}
    assert deciding(found) == {
        "inner": whole,
        "several": {"a": whole},
        "listed": [whole],
        "new": old,
    }


def test_a_recipe_that_comes_along_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = read_layers(Path("configs/nano/recipe.yaml"))
    assert content == read_layers(shipped("nano", "recipe.yaml"))
    own = tmp_path / "own/mine.yaml"
    own.parent.mkdir()
    own.write_text("base: configs/nano/recipe.yaml\ncorpus: mine\n")
    assert read_layers(own) == {**content, "corpus": "mine"}
    with pytest.raises(RequestError, match="no configuration file configs/nano/none"):
        read_layers(Path("configs/nano/none.yaml"))
    # One's own file of that name counts first.
    (tmp_path / "configs/nano").mkdir(parents=True)
    (tmp_path / "configs/nano/recipe.yaml").write_text("corpus: here\n")
    assert read_layers(Path("configs/nano/recipe.yaml")) == {"corpus": "here"}
    assert read_layers(own) == {**content, "corpus": "mine"}


def written(tmp_path, text):
    (tmp_path / "odd.yaml").write_text(text)
    return tmp_path / "odd.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\n".join(
                ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
                + [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 9)]
            ),
            "it has more than 100,000 values",
        ),
        ("select: &a [*a]", "an alias contains itself"),
        ("select: {prefer: !!int ''}", "a value does not match its tag"),
        (f"base: {'x' * 5000}", r"base: 'x+\.\.\. \(5,002 characters\) can't be read"),
    ],
)
def test_yaml_that_stands_for_too_much_is_refused(tmp_path, text, message):
    with pytest.raises(RequestError, match=message):
        load_recipe(written(tmp_path, text))


def test_a_long_value_is_shown_in_part(tmp_path):
    with pytest.raises(RequestError) as caught:
        load_recipe(written(tmp_path, f"shard: {{samples_per_tar: {'x' * 100_000}}}"))
    assert "(100,002 characters)" in str(caught.value)
    assert len(str(caught.value)) < 500


class Reserved(BaseModel):
    """A model whose key is a word that Python has another meaning for."""

    model_config = {"extra": "forbid", "validate_by_name": True}

    parent: str = Field("", alias="from", description="Of what.")
    new: int = Field(2, alias="class", json_schema_extra=ADDED)


class Chains(BaseModel):
    model_config = {"extra": "forbid"}

    named: dict[str, Reserved] = Field({"x": Reserved(parent="y")}, description="By name.")


def test_keys_are_those_of_the_file_where_python_has_another_meaning_for_the_word(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("named: {x: {from: z}}\n")
    assert config.load(Chains, file).named["x"].parent == "z"
    with pytest.raises(RequestError, match=r"named\.x\.form .* mean 'from'\? Allowed: class, from"):
        config.load(Chains, file, ["named.x.form=3"])
    assert [key for key, *_ in config.describe(Chains)] == [
        "named",
        "named.NAME.from",
        "named.NAME.class",
    ]
    assert next(config.describe(Chains))[1] == '{"x": {"from": "y"}}'
    assert config.deciding(Reserved(parent="a")) == {"from": "a"}
    assert config.deciding(Reserved(parent="a", new=3)) == {"from": "a", "class": 3}
    assert config.deciding(Chains()) == {"named": {"x": {"from": "y"}}}
