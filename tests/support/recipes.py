"""The configurations that ship, and small ones of a test's own."""

from pathlib import Path

from nucleus_data.line.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(ROOT.glob("configs/*/*.yaml"))


def load(tmp_path, text="", *overrides):
    """The recipe of a small file, with overrides."""
    file = tmp_path / "r.yaml"
    file.write_text(text)
    return load_recipe(file, overrides)
