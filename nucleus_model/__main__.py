"""Trains on a training set without Ray, in one process or, with torchrun, in several.

    python -m nucleus_model SET OUT [--config FILE] [KEY=VALUE]...
    torchrun --nproc-per-node 8 -m nucleus_model SET OUT --config configs/full/recipe.yaml

SET is the folder or URL of a training set (with a manifest.parquet), and OUT the output folder. A
run that was killed continues when its OUT is given again; so does a finished run, if it now has
more steps. FILE is a recipe, of which the sections quick_train and (for a URL) storage_options are
read, or a file with the content of quick_train. A KEY is one of quick_train's, such as steps=100 or
text.max_tokens=64, or storage_options.KEY. Exit codes: 0 if the training is done, 2 if the request
was wrong.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from tqdm import tqdm

from nucleus_data.config import nearest, parse_override, read_layers, set_key
from nucleus_data.errors import CorpusError, RequestError
from nucleus_model.settings.settings import QuickTrainSettings

STORAGE = "storage_options"


class Given(NamedTuple):
    """The parsed command line.

    Attributes:
        settings: Settings of the training.
        storage_options: Options for fsspec.
    """

    settings: QuickTrainSettings
    storage_options: dict[str, Any]


def read_settings(config: Path | None, overrides: Sequence[str]) -> Given:
    """Reads the settings from a recipe's section `quick_train`, or from a file of that section.

    Args:
        config: The recipe or the file; None for the defaults.
        overrides: `key.sub=value`, with or without the prefix `quick_train.`; applied last.

    Raises:
        RequestError: The file or an override is invalid.
    """
    content = read_layers(config) if config else {}
    place = {STORAGE: content.pop(STORAGE, None) or {}}
    content = content.get("quick_train", content)
    for override in overrides:
        keys, value = parse_override(override)
        if keys[0] == STORAGE:
            set_key(place, keys, value, override)
        else:
            set_key(content, keys[1:] if keys[0] == "quick_train" else keys, value, override)
    if not isinstance(place[STORAGE], dict):
        raise RequestError(f"{STORAGE} must hold keys and values, got {place[STORAGE]!r}")
    try:
        return Given(QuickTrainSettings.model_validate(content), place[STORAGE])
    except ValidationError as error:
        raise RequestError("\n".join(_explained(problem) for problem in error.errors())) from None


def _local_path(text: str) -> Path:
    """Returns a local path; rejects URLs, of which `pathlib` would make a folder called `s3:`."""
    if "://" in text or not text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path on this machine; give one")
    return Path(text)


def _explained(problem: Mapping[str, Any]) -> str:
    """Words one problem of a pydantic validation, with the key and the value found."""
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        hint = nearest(key, QuickTrainSettings.model_fields)
        allowed = ", ".join(sorted(QuickTrainSettings.model_fields))
        return f"quick_train.{key} is not a known key.{hint} Allowed: {allowed}"
    return f"quick_train.{key}: {problem['msg']}; got {problem.get('input')!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line, and returns the exit code."""
    parser = argparse.ArgumentParser("python -m nucleus_model", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("set", metavar="SET", help="folder or URL of a training set")
    parser.add_argument("out", metavar="OUT", type=_local_path, help="output folder")
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help="settings; applied last")
    parser.add_argument("--config", type=Path, metavar="FILE", help="recipe, or its quick_train")
    given = parser.parse_intermixed_args(arguments)
    try:
        settings, storage_options = read_settings(given.config, given.overrides)
        # Imported here, as torch takes seconds: help and wrong settings are answered without it.
        from nucleus_model.training.train import quick_train

        with tqdm(desc="train", unit=" steps", total=settings.steps, delay=1, disable=None) as bar:

            def show(step: int, steps: int, line: Mapping[str, Any]) -> None:
                bar.n = step
                bar.set_postfix_str(f"loss {line['loss']:.3f}")

            summary = quick_train(given.set, given.out, settings, storage_options, progress=show)
    except ModuleNotFoundError as error:
        print(f"this needs {error.name}; run: pip install 'nucleus-data[train]'", file=sys.stderr)
        return 2
    except (RequestError, CorpusError, ValueError, FloatingPointError) as error:
        print(error, file=sys.stderr)
        return 2
    if os.environ.get("RANK", "0") == "0":  # under torchrun only one process prints
        print(f"{summary['text']}\n{given.out / summary['grid']}")
    return 0


if __name__ == "__main__":
    ended = main()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Everything is written, and the process group is destroyed. At a normal exit, a gloo thread
    # that is still releasing a tensor waits for the ending interpreter, and torch aborts the
    # process.
    os._exit(ended)
