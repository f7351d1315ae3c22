"""Which runs read encoded values: by configuration, and by what the values say of themselves."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from nucleus_data.errors import RequestError
from nucleus_data.stages.encode.settings import EncodeSettings
from nucleus_model.settings.encoded import is_for
from nucleus_model.settings.settings import QuickTrainSettings


def reads(config: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a run of a configuration reads encoded values, or makes them.

    Args:
        config: The resolved configuration, as `plan.json` has it.
        about: What the values' folder says of itself.

    Returns:
        True, too, where it can't be told: another version wrote the configuration, or the model is
        not there any more.
    """
    try:
        settings = QuickTrainSettings.model_validate(config.get("quick_train") or {})
        made = EncodeSettings.model_validate(config.get("encode") or {})
        return is_for(settings, about, {settings.encoded, made.dtype})
    except (ValidationError, RequestError):
        return True
