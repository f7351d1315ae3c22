"""Settings of the stage `score`: what is said of stored vectors."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from nucleus_data.config import SNAKE_CASE

Name = Annotated[str, SNAKE_CASE]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
MAIN = "main"  # in `score.calibration`, the model of `embed.model`


class ScoreSettings(BaseModel):
    """Settings of the score stage: heads, tags, and calibrations of similarities."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: tuple[str, ...] = Field(
        default=(),
        description="Heads that compute scores from vectors: nano, or folders with heads.json and"
        " heads.safetensors; a single one needs no list. Each uses the vectors of the model that"
        " it names.",
    )
    tags: dict[Name, Text] = Field(
        default_factory=dict,
        description="Zero-shot tags, name to text, for example {photo: a photograph, drawing: a"
        " drawing}. Rules can read tag_NAME, the cosine similarity of picture and text, and tag,"
        " the nearest one's name.",
    )
    calibration: dict[Name, str | dict[str, Any]] = Field(
        default_factory=dict,
        description="Calibrations made by `nucleus calibrate`, each a file or its content, by"
        " model: main for that of embed.model, or a name of embed.models. Rules can then read"
        " caption_similarity.",
    )

    @field_validator("heads", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        if given is None:
            return ()
        return (given,) if isinstance(given, str) else given
