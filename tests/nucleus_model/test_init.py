"""The package's face, and what importing it and its rooms costs."""

import subprocess
import sys

import pytest

import nucleus_model


def run(code):
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split()


def test_what_is_exported_is_there_and_nothing_else():
    from nucleus_model.sampling.draw import draw
    from nucleus_model.settings.settings import QuickTrainSettings
    from nucleus_model.training.train import quick_train

    assert nucleus_model.draw is draw
    assert nucleus_model.QuickTrainSettings is QuickTrainSettings
    assert nucleus_model.quick_train is quick_train
    assert set(nucleus_model._HOMES) == set(nucleus_model.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'quick_tarin'"):
        _ = nucleus_model.quick_tarin


@pytest.mark.slow
def test_the_package_and_its_settings_import_no_torch():
    run(
        "import sys, nucleus_model; nucleus_model.QuickTrainSettings; "
        "assert not {'torch', 'ray'} & {*sys.modules}"
    )


@pytest.mark.slow
def test_every_module_imports_without_ray_or_a_stage():
    """Where Ray is not installed; and sampler and trainer load neither big library at once."""
    names = run(
        "import importlib, pkgutil, sys; sys.modules['ray'] = None\n"
        "import nucleus_model.sampling.sample, nucleus_model.training.train\n"
        "bad = {m.split('.')[0] for m in sys.modules} & {'diffusers', 'transformers'}\n"
        "assert not bad, bad\n"
        "walked = pkgutil.walk_packages(nucleus_model.__path__, 'nucleus_model.')\n"
        "names = [m.name for m in walked]\n"
        "for name in names: importlib.import_module(name)\n"
        "stages = [m for m in sys.modules if m.startswith(('nucleus_data.stage', "
        "'nucleus_data.runner'))]\n"
        "assert not stages, stages\n"
        "assert sys.modules['ray'] is None; print(*names)"
    )
    rooms = {name.split(".")[1] for name in names}
    assert {"checkpoints", "data", "encoders", "network", "sampling", "settings"} < rooms
    found = {name.split(".")[-1] for name in names}
    assert {"transformer", "sample", "train", "exchange", "text", "vae", "__main__"} <= found
