import math
import subprocess
import sys

import pytest
from pydantic import ValidationError

from nucleus_data.config import deciding
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.settings.text_encoder import TextSettings


def test_unknown_settings_are_errors():
    with pytest.raises(ValidationError, match="learning_rate"):
        QuickTrainSettings.model_validate({"learning_rate": 1e-3})


def test_what_a_run_may_go_on_with_others_of():
    """Another answer would change which checkpoints of today's runs can be continued."""
    settings = QuickTrainSettings()
    free = settings.model_dump(mode="json").keys() - deciding(settings).keys()
    assert free >= {
        "threads",
        "device",
        "image_cache_bytes",
        "latent_cache_bytes",
        "micro_batch",
        "gradient_checkpointing",
        "checkpoint_every",
        "keep_checkpoints",
        "router_every",
        "tensorboard",
        "max_bad_steps",
        "sample_prompts",
        "sample_rows",
        "sample_seeds",
        "sample_every",
        "sample_steps",
        "guidance",
    }
    known = {"preset", "steps", "batch_size", "lr", "seed", "optimizer", "phases", "text", "limit"}
    assert deciding(settings).keys() >= known
    assert deciding(settings)["text"].keys() == TextSettings.model_fields.keys()


def test_every_field_says_what_it_is():
    for model in (QuickTrainSettings, TextSettings):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


@pytest.mark.slow
def test_the_room_imports_no_torch():
    code = (
        "import importlib, pkgutil, sys; import nucleus_model.settings as room; "
        "names = [m.name for m in pkgutil.iter_modules(room.__path__)]; "
        "[importlib.import_module('nucleus_model.settings.' + name) for name in names]; "
        "assert 'choice' in names and 'torch' not in sys.modules, names"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"capacity_factors": [0, 2, 2]},
            r"capacity_factors must be 2 numbers, .*\(preset debug\)",
        ),
        ({"capacity_factors": 0}, "above 0 in blocks"),
        (
            {"phases": [{"steps": 3}, {"steps": 3, "capacity_factors": [0, 2, 2]}]},
            r"phase 1: capacity_factors must be 2 numbers",
        ),
        ({"phases": [{"steps": 3, "capacity_factors": math.inf}]}, "finite"),
        ({"phases": [{"steps": 3}, {"steps": 3, "timestep_mu": math.nan}]}, "finite"),
        ({"lr": math.inf}, "finite"),
        ({"sample_seeds": [2**64]}, "less than"),
    ],
)
def test_what_is_wrong_in_a_later_phase_or_at_the_end_is_told_before_the_first_step(given, message):
    with pytest.raises(ValidationError, match=message):
        QuickTrainSettings.model_validate({"preset": "debug"} | given)
