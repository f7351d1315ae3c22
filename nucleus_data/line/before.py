"""What is checked before a command works: all that needs neither a worker nor a record.

Rules and captions against the tables, the packages and models that stages load, and what their
workers ask of this machine. Where a cluster is named, its machines have the packages, models and
GPUs, and may grow: none of these is checked here.
"""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.told import ingesting
from nucleus_data.engines.find import TEXT_ENCODER, VAE, ModelKind, check_reachable
from nucleus_data.engines.load import engine_of
from nucleus_data.errors import RequestError
from nucleus_data.line.mix import preserve_condition
from nucleus_data.line.recipe import Recipe
from nucleus_data.line.routing import conditions_of
from nucleus_data.runner.cluster import RaySettings, inside_job, named_address
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.work import Resources
from nucleus_data.runner.workers import machine
from nucleus_data.stage import RowStage, Stage
from nucleus_data.stages.caption.check import check_upstream
from nucleus_data.stages.caption.loading import check_shares
from nucleus_data.stages.caption.models import kind_of, place_of
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.embed.settings import libraries, model_tables
from nucleus_data.stages.embed.stage import Embed
from nucleus_data.stages.ingest.claims import FOLDER as CLAIMS
from nucleus_data.stages.ingest.listing.locate import check_there
from nucleus_data.stages.ingest.stage import Ingest
from nucleus_data.stages.score.stage import Score
from nucleus_data.stages.select.check import check_decisions, upstream_columns
from nucleus_data.stages.select.stage import Select
from nucleus_data.stages.shard.captions import check_captions
from nucleus_data.stages.shard.stage import Shard, check_caps
from nucleus_data.stages.train.stage import Train

Stages = Mapping[str, Stage[Any]]

CUDA = "cuda"
# Stages that do without records: what takes them in, and what reads a training set alone.
WITHOUT_RECORDS = {"ingest", "encode", "quick_train"}
# Stage -> the packages that it needs, and what to install.
PACKAGES = {
    "embed": (("torch", "open_clip"), "nucleus-data[embed]"),
    "score": (("torch", "open_clip"), "nucleus-data[embed]"),
    "score_captions": (("torch", "open_clip"), "nucleus-data[embed]"),
    "caption": (("torch", "transformers"), "nucleus-data[caption]"),
    "quick_train": (("torch", "diffusers", "transformers"), "nucleus-data[train]"),
    "encode": (("torch", "diffusers", "transformers"), "nucleus-data[train]"),
}


def check_source(recipe: Recipe, stages: Stages) -> None:
    """Refuses an ingest without a source, before a corpus is made for it.

    Raises:
        RequestError: No source is given, or there is none at that place.
    """
    if missing := stages[Ingest.name].missing():
        raise RequestError(missing)
    check_there(recipe.section(Ingest))


def check_ingested(corpus: Corpus, names: Sequence[str]) -> None:
    """Refuses to work on a corpus without a record, which every stage would call done.

    An ingest that failed for its source leaves such a corpus behind, and so does one that was
    stopped before its first image shard was built.

    Args:
        corpus: The corpus.
        names: The stages that are about to run, in order.

    Raises:
        RequestError: One of them reads records, and neither are there any nor does the line begin
            by taking some in.
    """
    if "ingest" in names or WITHOUT_RECORDS.issuperset(names) or corpus.records.part_names():
        return
    claimed = len(corpus.store.list(CLAIMS))
    why = (
        f"{claimed} claimed image shards are not ingested yet"
        if claimed
        else "nothing was ingested"
    )
    raise RequestError(
        f"corpus={corpus.uri!r} has no records ({why}), so there is nothing for {names[0]} to do; "
        f"run: {ingesting(corpus.uri)}"
    )


def check_before(
    recipe: Recipe, stages: Stages, pins: Pins, corpus: Corpus, names: Sequence[str]
) -> None:
    """Checks what a line of stages is about to do.

    Args:
        recipe: The configuration.
        stages: Its stages, by name.
        pins: What follows from it.
        corpus: The corpus.
        names: The stages, in order.

    Raises:
        RequestError: With the first thing that is wrong.
    """
    if "select" in names[1:]:  # else it is the first thing that it does itself
        upstream = None if "ingest" in names else upstream_columns(corpus)
        check_decisions(recipe.section(Select), pins, upstream)
    upstream_of = None if "ingest" in names else lambda: upstream_columns(corpus)
    for stage in (stages[name] for name in dict.fromkeys(names)):
        if isinstance(stage, RowStage) and not stage.missing():
            conditions_of(stage, pins, upstream_of)
        if isinstance(stage, Caption):
            preserve_condition(stage.settings, pins, upstream_of)
    if "caption" in names:
        # What is ingested may have the columns.
        check_questions(recipe.section(Caption), None if "ingest" in names else corpus)
        if recipe.workers()["caption"].num_gpus:
            check_shares(recipe.section(Caption))
    if "shard" in names:
        check_captions(recipe.section(Shard), pins, corpus)
        check_caps(recipe.section(Shard), recipe.section(Select))
    if named_address(recipe.ray) or inside_job():
        return
    wanted = [name for name in dict.fromkeys(names) if not stages[name].missing()]
    workers = recipe.workers()
    for name in wanted:
        if name in workers:
            check_machine(name, workers[name], _device(recipe, stages[name]), recipe.ray)
    for name in wanted:
        _check_packages(recipe, name)
        for kind, model, revision in _models(recipe, name):
            check_reachable(model, revision, kind)


def check_questions(settings: CaptionSettings, corpus: Corpus | None) -> None:
    """Refuses checks that can't work here, and questions about columns that there are not.

    Args:
        settings: Of captions.
        corpus: Its upstream columns may be asked about; None for one that is not there yet.

    Raises:
        RequestError: With what is lacking.
    """
    settings.checks.ready(settings.language)
    if corpus and any(variant.facts for variant in settings.variants.values()):
        check_upstream(settings, upstream_columns(corpus))


def check_machine(name: str, asked: Resources, device: str | None, ray: RaySettings) -> None:
    """Refuses a worker that this machine has no room for: Ray would wait for one without a word.

    Args:
        name: The stage.
        asked: What each of its workers gets.
        device: Where its settings have its model run.
        ray: How many CPUs Ray is to have.

    Raises:
        RequestError: With what was asked for and what there is.
    """
    cuda = (device or "").startswith(CUDA)
    if asked.num_gpus == 0 and not cuda and asked.num_cpus <= 1 and not asked.memory_gb:
        return
    here = machine(ray)
    key = f"resources.{name}"
    lacking = []
    if asked.num_gpus > here.gpus:
        lacking.append(f"{key}.num_gpus={asked.num_gpus:g}, and there are {here.gpus}")
    elif cuda and not here.gpus:
        lacking.append(f"{name}.device={device}, and there is no GPU")
    if asked.num_cpus > here.cpus:
        lacking.append(f"{key}.num_cpus={asked.num_cpus:g}, and there are {here.cpus:g}")
    if asked.memory_gb and asked.memory_gb > here.memory_gb:
        lacking.append(f"{key}.memory_gb={asked.memory_gb:g}, and there are {here.memory_gb:.1f}")
    if lacking:
        raise RequestError(
            f"{name} asks for more than this machine has: {'; '.join(lacking)}. Ask for less (a "
            "smaller model, device=cpu; configs/nano/recipe.yaml needs no GPU), or give "
            "ray.address of a cluster"
        )


def _check_packages(recipe: Recipe, name: str) -> None:
    """Raises RequestError if a package that a stage loads in its workers is not there."""
    if name not in PACKAGES or (name == "score" and not recipe.section(Score).tags):
        return
    needed, extra = PACKAGES[name]
    if name == "caption":
        needed, extra = _of_captions(recipe.section(Caption)), PACKAGES[name][1]
    if name == "embed":
        needed = ("torch", *libraries(recipe.section(Embed)))
        extra = "nucleus-data[embed,caption]" if "transformers" in needed else extra
    lacking = [package for package in needed if importlib.util.find_spec(package) is None]
    if lacking:
        raise RequestError(f"{name} needs {', '.join(lacking)}: pip install '{extra}'")


def _of_captions(settings: CaptionSettings) -> tuple[str, ...]:
    """The packages that the models of captions need beside vLLM's. Raises RequestError."""
    needed: dict[str, None] = {}
    for name in settings.asked_of():
        engine = engine_of(settings.with_model(name))
        if engine == "vllm" and importlib.util.find_spec("vllm") is None:
            raise RequestError(
                f"{place_of(name)}.engine=vllm needs the package vllm: run scripts/install, or set "
                f"{place_of(name)}.engine=transformers"
            )
        of_engine = {"transformers": PACKAGES["caption"][0], "server": ("openai",)}
        needed |= dict.fromkeys(of_engine.get(engine, ()))
    return tuple(needed)


def _device(recipe: Recipe, stage: Stage[Any]) -> str | None:
    """Where a stage's model runs, as its settings say; of several, a GPU if one of them does."""
    if stage.name == "encode":
        return recipe.section(Train).device
    if stage.name != "embed":
        return getattr(stage.settings, "device", None)
    devices = [each.settings.device for each in model_tables(recipe.section(Embed))]
    return next((device for device in devices if device.startswith(CUDA)), devices[0])


def _models(recipe: Recipe, name: str) -> Iterator[tuple[ModelKind, str, str | None]]:
    """The models that a stage loads: which setting, its value, and its revision."""
    if name in ("embed", "score_captions") or (name == "score" and recipe.section(Score).tags):
        for each in model_tables(recipe.section(Embed)):
            assert each.settings.model is not None
            yield each.kind(), each.settings.model, each.settings.revision
    elif name == "caption":
        caption = recipe.section(Caption)
        for asked in caption.asked_of():
            mine = caption.with_model(asked)
            if mine.engine != "server":  # a server's need not be here
                yield kind_of(asked), mine.model, mine.revision
    elif name in ("quick_train", "encode"):
        training = recipe.section(Train)
        yield TEXT_ENCODER, training.text.model, training.text.revision
        if training.codec == "vae":
            yield VAE, training.vae, training.vae_revision
