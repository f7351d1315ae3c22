"""The configuration of the whole line, a section a stage; and the one list of stages.

Each section's model lives beside its stage. Whatever is said of all stages (sections, resources,
commands, what is retried or swept, help) follows from `STAGES`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from nucleus_data import config
from nucleus_data.corpus import Corpus
from nucleus_data.corpus.told import Asked, key_of, remember
from nucleus_data.errors import RequestError
from nucleus_data.line.report import Report
from nucleus_data.runner.cluster import RaySettings
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.work import Resources
from nucleus_data.stage import Stage
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.compare.stage import Compare
from nucleus_data.stages.dedup.stage import Dedup
from nucleus_data.stages.embed.stage import Embed
from nucleus_data.stages.encode.stage import Encode
from nucleus_data.stages.ingest.stage import Ingest
from nucleus_data.stages.inspect.stage import Inspect
from nucleus_data.stages.score.captions import ScoreCaptions
from nucleus_data.stages.score.stage import Score
from nucleus_data.stages.select.settings import SelectSettings
from nucleus_data.stages.select.stage import Select
from nucleus_data.stages.shard.stage import Shard
from nucleus_data.stages.train.stage import Train

SettingsT = TypeVar("SettingsT", bound=BaseModel)

# In the order of the line. A stage comes after those whose tables it reads.
STAGES: tuple[type[Stage[Any]], ...] = (
    Ingest,
    Inspect,
    Dedup,
    Compare,
    Select,
    Embed,
    Score,
    Caption,
    ScoreCaptions,
    Shard,
    Encode,
    Train,
    Report,
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)


class Recipe(BaseModel):
    """Everything that a run needs to know; below it, a section for each stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str = Field("", description="Root of the corpus, a path or URL.")
    storage_options: dict[str, Any] = Field(
        default_factory=dict,
        description="fsspec options for the corpus (endpoint, credentials).",
    )
    ray: RaySettings = RaySettings()

    def section(self, stage: type[Stage[SettingsT]]) -> SettingsT:
        """A stage's settings."""
        found: SettingsT = getattr(self, stage.name)
        return found

    def workers(self) -> dict[str, Resources]:
        """What the workers of each stage get."""
        resources = getattr(self, "resources")  # noqa: B009 - the field is made below
        return {name: getattr(resources, name) for name in type(resources).model_fields}

    def stages(self) -> dict[str, Stage[Any]]:
        """The stages, constructed.

        Raises:
            RequestError: A stage refuses its settings, for example a signal that can't be imported.
        """
        made: dict[str, Stage[Any]] = {}
        classes = {stage.name: stage for stage in STAGES}

        def make(name: str) -> Stage[Any]:
            if name not in made:
                construct: Any = classes[name]  # a stage with faces takes them too
                faces = [make(face) for face in classes[name].faces]
                made[name] = construct(self.section(classes[name]), *faces)
            return made[name]

        try:
            return {name: make(name) for name in STAGE_NAMES}
        except ValueError as error:
            raise RequestError(str(error)) from error

    def pins(self, corpus: Corpus | None = None) -> Pins:
        """The config hashes that follow from the settings.

        Args:
            corpus: Where older and imported captions are looked for; None for none.

        Raises:
            RequestError: A stage refuses its settings, or a model is not there.
        """
        return Pins.of(self.stages().values(), corpus)

    def public(self) -> dict[str, Any]:
        """The resolved configuration as JSON, without credentials."""
        content = self.model_dump(mode="json")
        content["storage_options"] = sorted(self.storage_options)
        content["ingest"]["storage_options"] = sorted(content["ingest"]["storage_options"])
        return content


def _sections() -> dict[str, Any]:
    """The fields that follow from the stages: their resources, and a section each."""
    workers: dict[str, Any] = {
        stage.name: (Resources, Resources.model_validate(stage.resources))
        for stage in STAGES
        if stage.resources is not None
    }
    closed = ConfigDict(frozen=True, extra="forbid")
    resources = create_model("ResourcesByStage", __config__=closed, **workers)
    sections = {stage.name: (stage.Settings, stage.Settings()) for stage in STAGES}
    return {"resources": (resources, resources()), **sections}


FullRecipe: type[Recipe] = create_model("FullRecipe", __base__=Recipe, **_sections())


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a configuration file and applies overrides.

    Args:
        path: YAML file.
        overrides: `key.sub=value`; the value is YAML (`shard.resolutions=[64,128]`). The keys of
            `select` need no `select.`: `rules.too_small=width < 300`.

    Raises:
        RequestError: With every problem, each with its file or override, key, what was found, what
            is allowed.
    """
    recipe = config.load(FullRecipe, Path(path), spelled_out(overrides), _check_rule)
    source = bool(recipe.section(Ingest).source)
    remember(recipe.corpus, Asked(str(path), tuple(overrides), source))
    return recipe


def spelled_out(overrides: Iterable[str]) -> list[str]:
    """Overrides with `select.` before its keys where it was left out (`rules.NAME`, `prefer`)."""
    short = set(SelectSettings.model_fields)
    return [f"select.{o}" if key_of(o).partition(".")[0] in short else o for o in overrides]


def _check_rule(
    keys: tuple[str, ...], value: Any, content: Mapping[str, Any], override: str
) -> None:
    """Refuses to take a rule away that is not there: its name is probably mistyped."""
    if value is not None:
        return
    rules = (content.get("select") or {}).get("rules") or {}
    if keys[:2] == ("select", "rules") and len(keys) == 3 and keys[2] not in rules:
        raise RequestError(
            f"{override!r}: there is no rule {keys[2]!r} to remove."
            f"{config.nearest(keys[2], rules)} Rules: {', '.join(rules) or 'none'}"
        )


def describe_settings() -> Iterator[tuple[str, str, str]]:
    """Every key with its default and its sentence, for `nucleus config`."""
    return config.describe(FullRecipe)
