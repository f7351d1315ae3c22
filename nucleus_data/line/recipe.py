"""The configuration of the whole line: one YAML file, one section a stage.

A file may name another as its `base` and say only what differs. Overrides are `key.sub=value`. Each
section's model lives beside its stage. Unknown keys are errors;
every error names the file, the key, what was found and what is allowed.
"""

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nucleus_data.config import parse_override, read_layers, set_key
from nucleus_data.corpus import RECORDS_HASH
from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.runner.cluster import RaySettings
from nucleus_data.runner.loop import Resources
from nucleus_data.stage import Stage
from nucleus_data.stages.caption.stage import Caption, CaptionSettings
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.embed.stage import Embed, EmbedSettings
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.inspect.stage import Inspect, InspectSettings
from nucleus_data.stages.select.rules import SelectSettings
from nucleus_data.stages.shard.plan import ShardSettings
from nucleus_model.settings.settings import QuickTrainSettings

STAGE_NAMES = (
    "ingest",
    "inspect",
    "dedup",
    "select",
    "embed",
    "caption",
    "shard",
    "quick_train",
    "report",
)


class ResourcesByStage(BaseModel):
    """Workers of each stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ingest: Resources = Resources()
    inspect: Resources = Resources()
    dedup: Resources = Resources()
    select: Resources = Resources()
    embed: Resources = Resources(actors=1)
    caption: Resources = Resources(actors=1)
    shard: Resources = Resources()
    quick_train: Resources = Resources()


class ReportSettings(BaseModel):
    """The page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thumbnails: int = Field(12, ge=0, le=200, description="Pictures for each reason.")


class Recipe(BaseModel):
    """Everything that a run needs to know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str = Field("", description="Root of the corpus: a path or URL.")
    storage_options: dict[str, Any] = Field(
        default_factory=dict, description="Passed to fsspec for the corpus (endpoint, credentials)."
    )
    ray: RaySettings = RaySettings()
    resources: ResourcesByStage = ResourcesByStage()
    ingest: IngestSettings = IngestSettings()
    inspect: InspectSettings = InspectSettings()
    dedup: DedupSettings = DedupSettings()
    select: SelectSettings = SelectSettings()
    embed: EmbedSettings = EmbedSettings()
    caption: CaptionSettings = CaptionSettings()
    shard: ShardSettings = ShardSettings()
    quick_train: QuickTrainSettings = QuickTrainSettings()
    report: ReportSettings = ReportSettings()

    def stages(self) -> dict[str, Stage[Any]]:
        """The row stages, constructed."""
        try:
            return {
                "inspect": Inspect(self.inspect),
                "embed": Embed(self.embed),
                "caption": Caption(self.caption),
            }
        except ValueError as error:
            raise RequestError(str(error)) from error

    def table_hashes(self) -> dict[str, str]:
        """Config hash of every table that does not depend on the corpus's parts, by table name."""
        hashes = {"records": RECORDS_HASH}
        for stage in self.stages().values():
            for spec in stage.tables():
                hashes[spec.name] = config_hash(
                    {
                        "table": spec.name,
                        "version": spec.version,
                        "settings": dict(spec.settings),
                        "inputs": {name: hashes[name] for name in spec.inputs},
                    }
                )
        return hashes

    def signals(self) -> dict[tuple[str, str], pa.DataType]:
        """What rules may read, as (table, signal) -> type: what `inspect` and `embed` measure."""
        stages = self.stages()
        return {
            (spec.name, field.name): field.type
            for stage in ("inspect", "embed")
            for spec in stages[stage].tables()
            for field in spec.schema
            if not pa.types.is_list(field.type)
        }

    def catalog(self) -> dict[str, str]:
        """Signal name -> table.

        Raises:
            RequestError: Two tables have a signal of the same name.
        """
        found: dict[str, str] = {}
        for table, name in self.signals():
            if name in found:
                raise RequestError(
                    f"inspect.signals, embed.heads: {name!r} is in {found[name]} and in {table}; "
                    "rename one"
                )
            found[name] = table
        return found

    def public(self) -> dict[str, Any]:
        """The resolved configuration as JSON, without credentials."""
        content = self.model_dump(mode="json")
        content["storage_options"] = sorted(self.storage_options)
        content["ingest"]["storage_options"] = sorted(self.ingest.storage_options)
        return content


def _check_rule(keys: tuple[str, ...], content: Mapping[str, Any], override: str) -> None:
    """Refuses to take a rule away that is not there: its name is probably mistyped."""
    rules = (content.get("select") or {}).get("rules") or {}
    if keys[:2] == ("select", "rules") and len(keys) == 3 and keys[2] not in rules:
        close = difflib.get_close_matches(keys[2], rules, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise RequestError(
            f"{override!r}: there is no rule {keys[2]!r} to take away.{hint} "
            f"Rules: {', '.join(rules) or 'none'}"
        )


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a configuration file and applies overrides.

    Args:
        path: YAML file.
        overrides: `key.sub=value`; the value is YAML (`shard.resolutions=[64,128]`).

    Raises:
        RequestError: With every problem, each with its file or override, key, what was found, what
            is allowed.
    """
    content = read_layers(path)
    given: dict[tuple[str, ...], str] = {}
    for override in overrides:
        keys, value = parse_override(override)
        if value is None:
            _check_rule(keys, content, override)
        set_key(content, keys, value, override)
        given[keys] = override
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RequestError(_explain(error, str(path), given)) from None


def _explain(error: ValidationError, path: str, given: Mapping[tuple[str, ...], str]) -> str:
    lines = []
    for problem in error.errors():
        keys = tuple(str(k) for k in problem["loc"])
        unknown = problem["type"] == "extra_forbidden"
        origin = path
        for given_keys, override in given.items():
            inside = keys[: len(given_keys)] == given_keys
            if inside or (unknown and given_keys[: len(keys)] == keys):
                origin = f"override {override!r}"
        name = ".".join(keys)
        if unknown:
            allowed = _allowed_keys(keys[:-1])
            close = difflib.get_close_matches(keys[-1], allowed, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            lines.append(
                f"{name} is not a known key ({origin}).{hint} Allowed: {', '.join(allowed)}"
            )
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            lines.append(f"{name}: {message}; got {problem.get('input')!r} ({origin})")
    return "\n".join(lines)


def _allowed_keys(keys: Sequence[str]) -> list[str]:
    model: Any = Recipe
    for key in keys:
        if isinstance(model, type) and issubclass(model, BaseModel) and key in model.model_fields:
            model = _model_in(model.model_fields[key].annotation)
        else:
            model = _model_in(model)
    return sorted(model.model_fields) if hasattr(model, "model_fields") else []


def _model_in(annotation: Any) -> Any:
    """The settings model inside `Model | None`, `dict[str, Model]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union, dict, tuple, list, Mapping):
        for argument in typing.get_args(annotation):
            found = _model_in(argument)
            if found is not None:
                return found
    return None


def describe_settings() -> list[tuple[str, str, str]]:
    """Every key with its default and its sentence, for `nucleus config`."""
    return list(_describe(Recipe, ""))


def _describe(model: type[BaseModel], prefix: str) -> typing.Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None and typing.get_origin(field.annotation) not in (dict, Mapping):
            yield from _describe(inner, f"{prefix}{name}.")
            continue
        default = (
            "required"
            if field.is_required()
            else repr(field.get_default(call_default_factory=True))
        )
        yield f"{prefix}{name}", default, field.description or ""
