"""Determines which runs use encoded values, from their configuration and the values' metadata."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from nucleus_data.errors import RequestError
from nucleus_data.stages.encode.settings import EncodeSettings
from nucleus_model.settings.encoded import is_for
from nucleus_model.settings.settings import QuickTrainSettings


def reads(config: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Returns whether a run with a configuration reads or writes encoded values.

    Args:
        config: The resolved configuration, as in `plan.json`.
        about: Content of the marker in the values' folder.

    Returns:
        True also if it can't be determined, because another version wrote the configuration or the
        model no longer exists.
    """
    try:
        settings = QuickTrainSettings.model_validate(config.get("quick_train") or {})
        made = EncodeSettings.model_validate(config.get("encode") or {})
        return is_for(settings, about, {settings.encoded, made.dtype})
    except (ValidationError, RequestError):
        return True
