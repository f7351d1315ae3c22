"""Runs the blocks of docs/export.md that read a set or its exports, where the readers are.

    python foreign_readers.py FOLDER EDITION READER...

FOLDER holds `set` and the exports `webdataset`, `parquet`, `webshart`, `energon`; a reader is a
heading, with `, not streaming` after it for the block without `streaming=True`. Prints JSON, a
reader each: the version of its package, and key -> [caption, SHA-256 of the RGB pixels as it
decodes them]; or why it failed.
"""

import hashlib
import importlib.metadata
import io
import json
import os
import re
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
DOC = Path(__file__).resolve().parents[2] / "nucleus_data/docs/export.md"
BLOCK = re.compile(r"^### (.*?)\n(.*?)^```python\n(.*?)^```", re.M | re.S)
NOT_STREAMING = ", not streaming"
PACKAGES = {"megatron": "megatron-energon", "streaming": "mosaicml-streaming"}
OURS = {"glob", "nucleus_data"}


def blocks():
    """Heading -> code."""
    return {heading: code for heading, _, code in BLOCK.findall(DOC.read_text())}


def pixels(picture):
    """What a trainer gets of a picture: no EXIF is looked at."""
    from PIL import Image

    if isinstance(picture, bytes):
        picture = Image.open(io.BytesIO(picture))
    if isinstance(picture, Image.Image):
        return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()
    values = (picture * 255).round().permute(1, 2, 0).contiguous()  # a tensor of Energon
    return hashlib.sha256(values.numpy().astype("uint8").tobytes()).hexdigest()


def prepared(code, folder, edition, work):
    """A block's code for these folders."""
    kind = re.search(r"--as (\w+)", code)
    names = {"SET": str(folder / "set"), "EDITION": edition, "MDS": str(work / "mds")}
    if kind:
        names["EXPORT"] = str(folder / kind[1])
    return re.sub(r"\b(SET|EXPORT|EDITION|MDS)\b", lambda found: names[found[0]], code)


def read(name, folder, edition, work):
    """Runs a reader's block; returns its package's version and what it showed."""
    code = prepared(blocks()[name.removesuffix(NOT_STREAMING)], folder, edition, work)
    if name.endswith(NOT_STREAMING):
        assert ", streaming=True" in code
        code = code.replace(", streaming=True", "")
    found = {}

    def show(key, picture, caption):
        assert key not in found, f"{key} comes twice"
        found[key] = caption, pixels(picture)

    exec(compile(code, name, "exec"), {"show": show})
    modules = re.findall(r"^(?:import|from) (\w+)", code, re.M)
    module = next(m for m in reversed(modules) if m not in OURS)
    version = importlib.metadata.version(PACKAGES.get(module, module))
    return {"version": f"{module} {version}", "found": found}


def main():
    folder, edition, said = Path(sys.argv[1]).resolve(), sys.argv[2], {}
    sys.stdout, out = sys.stderr, sys.stdout  # some of them print
    with tempfile.TemporaryDirectory(prefix="readers-") as made:
        work = Path(made)
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["HF_DATASETS_CACHE"] = str(work / "datasets")
        os.environ["CROISSANT_CACHE"] = str(work / "croissant")
        for name in sys.argv[3:]:
            try:
                said[name] = read(name, folder, edition, work)
            except Exception:
                said[name] = {"failed": traceback.format_exc()}
    out.write(json.dumps(said))
    out.flush()
    os._exit(0)  # some of them leave threads behind


if __name__ == "__main__":
    main()
