import json
import re

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.work import Summary
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.shard.publish import PublishTask
from nucleus_data.stages.shard.write import TarTask
from tests.support import curated
from tests.support.sharded import OVERRIDES, content_of, left_out, made_files, manifest, shard


@pytest.mark.slow
def test_what_is_there_is_not_made_again(made, training_set):
    before = {n: p.stat().st_mtime_ns for n, p in made_files(training_set).items()}
    said = []
    run, again = shard(made, said=said)
    assert again == training_set
    assert {n: p.stat().st_mtime_ns for n, p in made_files(again).items()} == before
    assert said == [
        f"shard: the tars already exist: {again}",
        f"  captions: the edition {run.pins.edition} already exists",
        f"  {again}/manifest.parquet",
    ]
    (line,) = run.lines  # without one, `status` would say that the run ended early
    samples = sum(entry["samples"] for entry in manifest(again))
    assert (line["stage"], line["rows"], line["already"]) == ("shard", samples, samples)
    assert (line["done"], line["failed"]) == (0, 0)


@pytest.mark.slow
def test_a_set_is_published_only_when_every_tar_is_there(made, monkeypatch):
    def all_tars_but_one(self, items):
        return list(items)[:-1] if isinstance(self.work, TarTask) else items

    monkeypatch.setattr(InlineLoop, "arranged", all_tars_but_one)
    run = curated.run(made.uri, "shard", *OVERRIDES, "shard.seed=7")
    run.do("shard")
    (failure,) = run.failures
    assert re.search(r"is not published: tar (\d+) of \d+ was not written", failure["error"])
    assert not made.store.exists(f"{run.training_set}/manifest.parquet")
    monkeypatch.undo()
    again, folder = shard(made, "shard.seed=7")
    assert smallest(folder) == smallest(shard(made)[1])
    assert again.lines[-1]["already"] > 0
    assert again.lines[-1]["done"] > 0


@pytest.mark.slow
def test_who_finds_that_another_run_published_the_set_is_done(made):
    run, folder = shard(made)
    settings = run.stages["shard"].settings
    place = made.uri, {}, run.training_set
    assert TarTask(*place, settings).run(0) == Summary()
    count = sum(entry["samples"] for entry in manifest(folder))
    assert PublishTask(*place, 3, settings).run(0).extra == {"samples": count}
    other = (*place[:2], f"{run.training_set}0")
    with pytest.raises(FileNotFoundError):
        TarTask(*other, settings).run(0)


@pytest.mark.slow
def test_a_failed_tar_leaves_the_set_unpublished(made, monkeypatch):
    work = TarTask.run

    def broken(self, number):
        if number == 2:
            raise OSError("the store is away")
        return work(self, number)

    monkeypatch.setattr(TarTask, "run", broken)
    run, folder = shard(made, "shard.seed=8")
    assert run.failed_shards == 1
    assert "manifest.parquet" not in made_files(folder)
    failures = made.store.read(run.path("failures.jsonl")).splitlines()
    assert json.loads(failures[0])["error"] == "OSError: the store is away"


@pytest.mark.slow
def test_a_set_s_name_changes_with_what_it_is_made_of_alone(made):
    def name(*overrides, **options):
        run = curated.run(made.uri, "shard", *OVERRIDES, *overrides, dry_run=True, **options)
        run.pin("shard")
        return run.training_set

    first = name()
    assert first.startswith("sets/nano/")
    assert name("resources.shard.workers=1", "report.thumbnails=2", "quick_train.steps=3") == first
    assert name("shard.name=other").startswith("sets/other/")
    others = {
        name("shard.seed=1"),
        name("shard.aspects=[1x1]"),
        name("shard.crop=random"),
        name("shard.format=webp"),
        name(limit=3),
    }
    assert len(others) == 5
    assert first not in others
    # Captions are beside the tars: no picture is written again for them.
    assert name("shard.captions=[short]") == name("caption.max_side=512") == first
    seven = "[1x1, 16x9, 9x16, 4x3, 3x4, 3x2, 2x3]"
    assert name(f"shard.aspects={seven}") == name("shard.aspects=seven") == first


def smallest(folder):
    return sum(e["samples"] for e in manifest(folder) if e["resolution"] == 64)


@pytest.mark.slow
def test_a_limit_and_a_sample_choose_fewer(made):
    run = curated.run(made.uri, "shard", *OVERRIDES, limit=7)
    run.do("shard")
    kept = smallest(made.store.path(run.training_set))
    out = left_out(made.store.path(run.training_set))
    assert kept + sum(resolution == 64 for _, resolution in out) == 7
    run = curated.run(made.uri, "shard", *OVERRIDES, sample=0.5)
    run.do("shard")
    kept = smallest(made.store.path(run.training_set))
    assert 8 < kept < 28


@pytest.mark.slow
def test_an_unknown_caption_is_refused_with_the_known_ones(made):
    with pytest.raises(RequestError) as error:
        shard(made, "shard.captions=[source, medium]")
    assert "shard.captions names 'medium', which is neither a caption variant" in str(error.value)
    assert "allowed: source, long, short" in str(error.value)


def test_no_selection_is_refused_with_the_command(made):
    with pytest.raises(RequestError, match=r"no selection .* run: nucleus select corpus="):
        shard(made, "select.rules.other=width > 9000")


def test_a_dry_run_counts_and_writes_nothing(made):
    before = content_of(made.store.path(""))
    said = []
    run = curated.run(made.uri, "shard", *OVERRIDES, "shard.seed=99", said=said, dry_run=True)
    run.do("shard")
    assert said == ["shard: 40 kept records, at 64, 128 pixels where they are large enough"]
    assert content_of(made.store.path("")) == before


@pytest.mark.slow
def test_a_set_without_a_sample_is_whole_and_says_why(made):
    said = []
    run, folder = shard(made, "shard.resolutions=[1024]", said=said)
    assert manifest(folder) == []
    assert left_out(folder) == {(ident, 1024): "too_small" for ident in made.numbers}
    assert "  not at 1024 pixels: 40 too small" in said
    whole = SetFolder(made.store, run.training_set)
    assert (whole.edition().samples, whole.columns().names[:2]) == (0, ["tier", "curriculum"])
