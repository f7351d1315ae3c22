"""Readers of others read a set and its exports: the same keys, captions, and upright pixels.

They are installed in an environment of their own (scripts/get_readers), and read as
docs/export.md says.
"""

import io
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image, ImageOps

from nucleus_data.sets.layout import SetFolder
from tests.support import curated
from tests.support.commands import REPOSITORY, environment
from tests.support.foreign_readers import NOT_STREAMING, blocks, pixels

COUNT = 14
STREAMING = [heading + NOT_STREAMING for heading in ("datasets, tars", "datasets, Parquet")]
OLDER = ("webdataset", "webdataset on the set itself")  # what webdataset 0.2 reads too
WITHOUT = "datasets on the set itself"  # reads no captions
SETTINGS = (
    "select.rules={}",
    "shard.resolutions=[256]",
    "shard.aspects=[1x1]",
    "shard.captions=[source]",
    "shard.samples_per_tar=8",
)


# In the environment that has mlcroissant; all of them at once, as imports take longer.
EXPORT = """
import sys
from nucleus_data.views.export_asked import asked
for kind in ("webdataset", "parquet", "webshart", "energon"):
    assert asked(sys.argv[1], kind, "", {}, out=f"{sys.argv[2]}/{kind}").run(print)
"""


def write_originals(folder):
    """Pictures as people have them; the first ones have no licence, and readers guess by them."""
    folder.mkdir()
    for number in range(COUNT):
        form, options = "JPEG", {"quality": 95}
        if number == 1:
            exif = Image.Exif()
            exif[0x0112] = 6  # turned by a quarter
            options["exif"] = exif.tobytes()
        if number == 2:
            form, options = "PNG", {}
        if number == 3:
            form, options = "WEBP", {"lossless": True}
        data = curated.picture(number, (300, 280), form, **options)
        if number == 2:  # half of it lets the ground through
            opened = Image.open(io.BytesIO(data)).convert("RGBA")
            opened.putalpha(Image.linear_gradient("L").resize(opened.size))
            stream = io.BytesIO()
            opened.save(stream, "PNG")
            data = stream.getvalue()
        (folder / f"{number:02d}.{form.lower()}").write_bytes(data)
        about = {"licence": "CC BY 4.0"} if number > 10 else {}
        if number:
            about["caption"] = f'a picture, "{number}" | <b> é 日本 \U0001f600'
        (folder / f"{number:02d}.json").write_text(json.dumps(about))


def upright(original):
    """The pixels that a person sees, on white."""
    opened = ImageOps.exif_transpose(Image.open(original)).convert("RGBA")
    ground = Image.new("RGBA", opened.size, "white")
    return Image.alpha_composite(ground, opened).convert("RGB")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with a set, its exports, and what is true of them."""
    folder = tmp_path_factory.mktemp("readers")
    write_originals(folder / "pictures")
    run = curated.run(
        str(folder / "c"), "all", *SETTINGS, f"ingest.source={folder / 'pictures'}", create=True
    )
    run.do("ingest", "inspect", "dedup", "select", "shard")
    made = SetFolder(run.corpus.store, run.training_set)
    (folder / "set").symlink_to(made.url())
    return folder, made


def truth(folder, made):
    """Key -> [caption, hash of pixels] by tarfile and Pillow alone."""
    captions = {}
    for tar in made.manifest():
        rows = made.edition().captions(tar.path).to_pylist()
        captions |= {row["id"]: (row["captions"] or [""])[-1] for row in rows}
    found, opened = {}, {}
    for tar in made.manifest():
        with tarfile.open(made.url(tar.path)) as stream:
            for member in stream:
                key, _, ending = member.name.partition(".")
                opened.setdefault(key, {})[ending] = stream.extractfile(member).read()
    for key, files in opened.items():
        about = json.loads(files["json"])
        seen = upright(folder / "pictures" / about["key"]).crop(about["crop"])
        stored = Image.open(io.BytesIO(files["jpg"]))
        seen = seen.resize(stored.size, Image.Resampling.LANCZOS)
        error = np.abs(np.asarray(seen, np.int16) - np.asarray(stored, np.int16)).mean()
        assert error < 4, f"{about['key']} is not stored as a person sees it: {error}"
        found[key] = [captions[key], pixels(files["jpg"])]
    return found


def run_readers(python, folder, edition, readers, **more):
    """What some readers found, in an environment."""
    script = REPOSITORY / "tests/support/foreign_readers.py"
    done = subprocess.run(
        [python, str(script), str(folder), edition, *readers],
        env={**environment(), **more},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_readers_of_others_find_the_same_keys_captions_and_upright_pixels(exported, capsys):
    folder, made = exported
    target = folder / "environment"
    subprocess.run(
        ["bash", str(REPOSITORY / "scripts/get_readers"), str(target)],
        env={**environment(), "PYTHON": sys.executable},
        check=True,
        timeout=300,
    )
    python = str(target / "bin/python")
    edition = made.edition().hash
    exports = [python, "-c", EXPORT, made.url(), str(folder)]
    subprocess.run(exports, env=environment(), check=True, timeout=300)
    prepare = ["sh", str(folder / "energon/prepare.sh")]
    path = f"{target / 'bin'}:{os.environ['PATH']}"
    subprocess.run(prepare, env={**environment(), "PATH": path}, check=True, timeout=300)

    expected = truth(folder, made)
    assert len(expected) == COUNT
    assert sum(caption == "" for caption, _ in expected.values()) == 1
    found = {
        f"{name} (here)": value
        for name, value in run_readers(sys.executable, folder, edition, OLDER).items()
    }
    found |= run_readers(python, folder, edition, [*blocks(), *STREAMING])
    versions = []
    for reader, said in found.items():
        assert "failed" not in said, f"{reader}: {said['failed']}"
        if reader == WITHOUT:
            expected_here = {key: [None, digest] for key, (_, digest) in expected.items()}
        else:
            expected_here = expected
        assert said["found"] == expected_here, reader
        versions.append(f"{reader}: {said['version']}")
    with capsys.disabled():
        print("\n" + "\n".join(versions))
    here = {said["version"] for name, said in found.items() if name.endswith("(here)")}
    assert all(version.startswith("webdataset 0.2.") for version in here)
    assert "webdataset: webdataset 1.0.2" in versions
