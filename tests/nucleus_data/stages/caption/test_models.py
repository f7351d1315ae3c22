"""Variants with a model of their own: what is asked of which, stored, hashed and refused."""

import pytest
from pydantic import ValidationError

from nucleus_data.errors import RequestError, StoppedError
from nucleus_data.hashing import config_hash
from nucleus_data.stage import Result
from nucleus_data.stages.caption import stage as module
from nucleus_data.stages.caption.check import describe
from nucleus_data.stages.caption.loading import check_shares
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.caption.tables import caption_tables
from scripts.truth.engines import Broken
from tests.nucleus_data.stages.caption.test_flow import row
from tests.nucleus_data.stages.caption.truth.test_in_a_run import of_pixels, small
from tests.support.captions.standin import StandIn, place
from tests.support.captions.unchecked import OFF

WRITER = {"writer": {"model": "org/writer", "revision": "main"}}
CHAIN = {
    "long": {"prompt": "long"},
    "brief": {"from": "long", "text": "Shorten: {made}", "model": "writer"},
    "look": {"from": "brief", "text": "Check: {made}", "picture": True},
    "tiny": {"from": "look", "text": "Shorten more: {made}", "model": "writer"},
}


def says(name):
    return lambda key, picture, ask: f"<{name}: {ask.question.splitlines()[0][:60]}>"


@pytest.fixture
def stage(monkeypatch):
    """Makes a stage whose models are these engines, by their names; notes how they were loaded."""

    def make(engines, **settings):
        made = Caption(CaptionSettings(**{"checks": OFF, "probes": 0, "models": WRITER} | settings))
        made.loaded = []

        def load(settings, pictures=True):
            made.loaded.append((settings.model, pictures))
            return engines[settings.model]

        monkeypatch.setattr(module, "load_engine", load)
        made.setup()
        return made

    return make


def two():
    return {name: StandIn(say=says(name)) for name in ("nano", "org/writer")}


def hashes(**settings):
    tables = caption_tables(CaptionSettings(**settings))
    return {spec.name: config_hash({**spec.settings, "inputs": spec.inputs}) for spec in tables}


class TestRuns:
    @pytest.mark.parametrize("cpus", [1, 3])
    def test_a_chain_goes_from_model_to_model_in_one_run(self, stage, cpus):
        engines = two()
        work = stage(engines, variants=CHAIN)
        work.cpus = cpus
        assert work.loaded == [("nano", True), ("org/writer", False)]
        found = list(work.process(iter([row(number, CHAIN) for number in range(9)])))
        assert sorted(one.row.row for one in found) == list(range(9))
        for one in found:
            made = {name.removeprefix("caption."): values for name, values in one.values.items()}
            assert [made[name]["model"] for name in CHAIN] == ["nano", "org/writer"] * 2
            assert [made[name]["revision"] == "main" for name in CHAIN] == [False, True] * 2
            assert (
                made["brief"]["caption"]
                == f"<org/writer: Shorten: {made['long']['caption']}"[:73] + ">"
            )
        seen = {
            model: {
                (place(key).split("/")[2], shape is not None) for key, shape, _ in one.submitted
            }
            for model, one in engines.items()
        }
        assert seen["nano"] == {("long", True), ("look", True)}
        assert seen["org/writer"] == {("brief", False), ("tiny", False)}, "no picture is encoded"
        assert work.counted()["pictures"] == 18

    def test_a_model_that_no_variant_names_is_not_loaded(self, stage):
        variants = {"brief": {"prompt": "short", "model": "writer"}}
        work = stage(two(), variants=variants)
        assert work.loaded == [("org/writer", True)]
        assert work.rows_at_once() == 64

    def test_a_full_engine_keeps_no_other_from_its_work(self, stage):
        engines = two()
        seeing = engines["nano"]
        engines["org/writer"] = Stuck(says("org/writer"), lambda: len(seeing.submitted) == 27)
        variants = {
            "long": {"prompt": "long"},
            "alone": {"prompt": "short", "model": "writer"},
        }
        work = stage(engines, variants=variants, max_in_flight=4)
        rows = [row(number, ["alone"]) for number in range(3)]
        rows += [row(number, ["long"]) for number in range(3, 30)]
        done = [one.row.row for one in work.process(iter(rows))]
        assert sorted(done) == list(range(30))
        assert not {0, 1, 2} & set(done[:20])

    def test_what_one_engine_loses_is_ended_while_another_works(self, stage):
        engines = two()
        engines["org/writer"] = Forgetful()
        variants = {"long": {"prompt": "long"}, "brief": {"prompt": "short", "model": "writer"}}
        (one,) = stage(engines, variants=variants).process(iter([row(0, variants)]))
        assert isinstance(one, Result)
        assert one.values["caption.brief"]["error"] == "engine_lost"
        assert "caption" in one.values["caption.long"]

    def test_every_model_that_sees_pictures_is_tested(self, stage):
        variants = {
            "long": {"prompt": "long"},
            "short": {"prompt": "short", "model": "writer"},
            "brief": {"prompt": "short_from", "from": "long", "model": "writer"},
        }
        engines = {name: StandIn(say=of_pixels) for name in ("nano", "org/writer")}
        work = stage(engines, variants=variants, probes=4)
        rows = [row(i, variants, image=small(i)) for i in range(16)]
        assert len(list(work.process(iter(rows)))) == 16
        probes = {
            model: {key.split("/")[4] for key, *_ in one.submitted if key.startswith("probe/")}
            for model, one in engines.items()
        }
        assert probes == {"nano": {"long"}, "org/writer": {"short"}}
        assert work.counted()["truth_probes"] == 8

    def test_one_model_that_is_wrong_stops_the_run_and_is_named(self, stage):
        engines = {"nano": StandIn(say=of_pixels)}
        engines["org/writer"] = Broken(StandIn(say=of_pixels), "blind")
        variants = {"long": {"prompt": "long"}, "short": {"prompt": "short", "model": "writer"}}
        work = stage(engines, variants=variants, probes=4)
        with pytest.raises(StoppedError, match=r"with org/writer: .* does not see them"):
            list(work.process(iter(row(i, variants, image=small(i)) for i in range(40))))


class Stuck(StandIn):
    """Gives nothing back for a time."""

    def __init__(self, say, until):
        super().__init__(say=say)
        self.until = until

    def step(self):
        return super().step() if self.until() else []


class Forgetful(StandIn):
    """Takes requests, and has none."""

    def pending(self):
        return 0


class TestHashes:
    def test_a_variant_without_a_model_of_its_own_keeps_its_hash(self):
        before = hashes(variants={"long": {"prompt": "long"}})
        after = hashes(models={"writer": {"model": "nano", "max_side": 64}}, variants=CHAIN)
        assert after["caption.long"] == before["caption.long"]

    def test_a_model_of_a_variant_is_hashed_as_if_it_were_the_stage_s(self):
        own = {"model": "org/writer", "revision": "main", "max_side": 512, "dtype": "bfloat16"}
        own |= {"system": "Be brief.", "vllm_args": {"quantization": "fp8", "max_num_seqs": 3}}
        of_the_stage = hashes(**own, variants={"a": {"prompt": "short"}})
        variants = {"a": {"prompt": "short", "model": "writer"}}
        assert hashes(models={"writer": own}, variants=variants) == of_the_stage
        assert (
            hashes(models={"other": own}, variants={"a": {"prompt": "short", "model": "other"}})
            == of_the_stage
        ), "a name is no part of it"
        other = {"writer": own | {"revision": "v2"}}
        assert hashes(models=other, variants=variants) != of_the_stage

    def test_what_a_model_leaves_out_is_as_the_stage_has_it(self):
        stage = {"max_side": 320, "system": "Be brief.", "vllm_args": {"quantization": "fp8"}}
        stage |= {"revision": None, "engine": "transformers"}
        settings = CaptionSettings(**stage, models=WRITER)
        writer = settings.models["writer"]
        assert (writer.max_side, writer.system, writer.engine) == (320, "Be brief.", "transformers")
        assert (writer.vllm_args, writer.revision) == ({}, "main")
        again = CaptionSettings.model_validate(settings.model_dump(by_alias=True))
        assert again == settings


class TestRefusals:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (
                {"models": WRITER, "variants": {"a": {"prompt": "short", "model": "writr"}}},
                r"is 'writr', .* allowed: writer. Did you mean 'writer'\?",
            ),
            ({"variants": {"a": {"prompt": "short", "model": "nano"}}}, "allowed: none"),
            ({"models": {"Big One": {"model": "nano"}}}, "lowercase letters"),
            ({"models": {"writer": {}}}, "Field required"),
            ({"models": {"writer": {"model": "nano", "variants": {}}}}, "Extra inputs"),
            ({"models": {"writer": 3}}, "valid dictionary"),
            ({"models": 3}, "valid (dictionary|mapping)"),
            (
                {
                    "models": {"writer": {"model": "nano", "engine": "server"}},
                    "variants": {"a": {"prompt": "short", "model": "writer"}},
                },
                "needs its own servers.urls",
            ),
            # They would change texts, and the hash, the provenance and the check of lengths not.
            *(
                ({"vllm_args": {name: value}}, f"{name} is a setting .* write {name}: {value} ")
                for name, value in (("max_model_len", 512), ("dtype", "half"), ("model", "m"))
            ),
            ({"models": {"w": {"model": "m", "vllm_args": {"revision": "x"}}}}, "models.w.vllm_a"),
        ],
    )
    def test_wrong_settings(self, given, said):
        with pytest.raises(ValidationError, match=said):
            CaptionSettings(**given)

    def test_a_model_that_is_not_there_is_named_by_its_own_key(self):
        variants = {"a": {"prompt": "short", "model": "writer"}}
        settings = {"variants": variants, "models": {"writer": {"model": "org/writer"}}}
        with pytest.raises(RequestError, match=r"caption\.models\.writer\.revision is required"):
            caption_tables(CaptionSettings(**settings))

    def test_shares_of_one_gpu_add_up_to_one_at_most(self):
        given = {"engine": "vllm", "variants": CHAIN}
        with pytest.raises(RequestError, match=r"writer\.gpu_memory_utilization=0\.9: .* 180% of"):
            check_shares(CaptionSettings(**given, models=WRITER))
        fits = {"writer": {**WRITER["writer"], "gpu_memory_utilization": 0.3}}
        check_shares(CaptionSettings(**given, gpu_memory_utilization=0.6, models=fits))
        check_shares(CaptionSettings(**given | {"variants": {"long": {"prompt": "long"}}}))
        urls = {"engine": "server", "servers": {"urls": ["http://gpu1:8000"]}}
        check_shares(CaptionSettings(**given, models={"writer": {**WRITER["writer"], **urls}}))

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (
                ValueError(
                    "Free memory on device cuda:0 (3/80 GiB) on startup is less than desired"
                ),
                r"caption\.models\.writer\.model=org/writer can't be loaded: ValueError: Free .*"
                r"Already loaded in the same worker: nano \(stand-in\)\. Give it more room",
            ),
            (
                OSError("no such weights\nmore"),
                r"can't be loaded: OSError: no such weights\. Already loaded",
            ),
            (
                RequestError("caption.model is 'x', and caption.servers.key_env is not set"),
                r"^caption\.models\.writer\.model is 'x', .* caption\.models\.writer\.servers\.key",
            ),
        ],
    )
    def test_a_model_that_can_t_be_loaded_is_named_with_those_before_it(
        self, stage, monkeypatch, error, said
    ):
        class Engines(dict):
            def __missing__(self, name):
                raise error

        with pytest.raises(RequestError, match=said):
            stage(Engines(nano=StandIn()), variants=CHAIN)

    def test_an_error_of_the_only_model_that_is_not_of_memory_is_left_as_it_is(self, stage):
        with pytest.raises(KeyError, match="nano"):
            stage({}, variants={"long": {"prompt": "long"}})


def test_check_says_which_model_is_asked():
    said = describe(CaptionSettings(models=WRITER, variants=CHAIN))
    assert "brief (own, from long, by writer (org/writer))" in said
    assert "long (long@1)" in said
