"""Checks before a command starts its work: all that need neither workers nor records.

They cover rules and captions (against the tables' columns), the packages and models that stages
load, and the resources that workers request. With a named cluster, only the former are checked: its
machines have the packages, models and GPUs, and it may grow.
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
# Stages that need no records: ingest makes them, the others read a training set only.
WITHOUT_RECORDS = {"ingest", "encode", "quick_train"}
# Stage -> the packages that it imports, and the extra that installs them.
PACKAGES = {
    "embed": (("torch", "open_clip"), "nucleus-data[embed]"),
    "score": (("torch", "open_clip"), "nucleus-data[embed]"),
    "score_captions": (("torch", "open_clip"), "nucleus-data[embed]"),
    "caption": (("torch", "transformers"), "nucleus-data[caption]"),
    "quick_train": (("torch", "diffusers", "transformers"), "nucleus-data[train]"),
    "encode": (("torch", "diffusers", "transformers"), "nucleus-data[train]"),
}


def check_source(recipe: Recipe, stages: Stages) -> None:
    """Refuses an ingest without a source, before its corpus is created.

    Raises:
        RequestError: No source is configured, or it does not exist.
    """
    if missing := stages[Ingest.name].missing():
        raise RequestError(missing)
    check_there(recipe.section(Ingest))


def check_ingested(corpus: Corpus, names: Sequence[str]) -> None:
    """Refuses a corpus without records, for which every stage would report that all is done.

    Such a corpus is left by an ingest that failed, or was stopped, before its first image shard.

    Args:
        corpus: The corpus.
        names: Names of the stages to run, in order.

    Raises:
        RequestError: One of the stages reads records, none of them is `ingest`, and there are no
            records.
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
    """Checks the settings, and this machine, for the stages to run.

    Args:
        recipe: The configuration.
        stages: Its stages, by name.
        pins: Its pins.
        corpus: The corpus.
        names: Names of the stages to run, in order.

    Raises:
        RequestError: The first thing that is wrong.
    """
    if "select" in names[1:]:  # as the first stage, it checks this itself at once
        upstream = None if "ingest" in names else upstream_columns(corpus)
        check_decisions(recipe.section(Select), pins, upstream)
    upstream_of = None if "ingest" in names else lambda: upstream_columns(corpus)
    for stage in (stages[name] for name in dict.fromkeys(names)):
        if isinstance(stage, RowStage) and not stage.missing():
            conditions_of(stage, pins, upstream_of)
        if isinstance(stage, Caption):
            preserve_condition(stage.settings, pins, upstream_of)
    if "caption" in names:
        # If the line ingests, the upstream columns are not known yet.
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
    """Refuses caption checks that lack a package, and prompts with unknown upstream columns.

    Args:
        settings: The caption stage's settings.
        corpus: The corpus; None if it is not ingested yet, to skip the check of columns.

    Raises:
        RequestError: Names what is missing.
    """
    settings.checks.ready(settings.language)
    if corpus and any(variant.facts for variant in settings.variants.values()):
        check_upstream(settings, upstream_columns(corpus))


def check_machine(name: str, asked: Resources, device: str | None, ray: RaySettings) -> None:
    """Refuses resources that this machine does not have: Ray would wait for them silently.

    Args:
        name: The stage.
        asked: Resources of each of its workers.
        device: The device of the stage's model, if it has one.
        ray: Ray's settings, for its number of CPUs.

    Raises:
        RequestError: Lists the requested and the available resources.
    """
    cuda = (device or "").startswith(CUDA)
    if asked.num_gpus == 0 and not cuda and asked.num_cpus <= 1 and not asked.memory_gb:
        return
    here = machine(ray)
    key = f"resources.{name}"
    lacking = []
    if asked.num_gpus > here.gpus:
        lacking.append(f"{key}.num_gpus={asked.num_gpus:g}, but it has {here.gpus}")
    elif cuda and not here.gpus:
        lacking.append(f"{name}.device={device}, but it has no GPU")
    if asked.num_cpus > here.cpus:
        lacking.append(f"{key}.num_cpus={asked.num_cpus:g}, but it has {here.cpus:g}")
    if asked.memory_gb and asked.memory_gb > here.memory_gb:
        lacking.append(f"{key}.memory_gb={asked.memory_gb:g}, but it has {here.memory_gb:.1f}")
    if lacking:
        raise RequestError(
            f"{name} asks for more than this machine has: {'; '.join(lacking)}. Ask for less (a "
            "smaller model, device=cpu; configs/nano/recipe.yaml needs no GPU), or set "
            "ray.address to a cluster"
        )


def _check_packages(recipe: Recipe, name: str) -> None:
    """Raises RequestError if a package that a stage's workers import is not installed."""
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
    """Returns the packages that the caption models' engines import.

    Raises:
        RequestError: An engine is vLLM, which is not installed.
    """
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
    """Returns the device of a stage's model; with several models, a GPU if one uses it."""
    if stage.name == "encode":
        return recipe.section(Train).device
    if stage.name != "embed":
        return getattr(stage.settings, "device", None)
    devices = [each.settings.device for each in model_tables(recipe.section(Embed))]
    return next((device for device in devices if device.startswith(CUDA)), devices[0])


def _models(recipe: Recipe, name: str) -> Iterator[tuple[ModelKind, str, str | None]]:
    """Yields the models that a stage loads: kind (its setting), name or path, and revision."""
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
