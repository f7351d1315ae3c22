"""The wheel, and an environment that holds what it asks for and nothing else."""

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.commands import REPOSITORY


def build_wheel(folder: Path) -> Path:
    """Builds the wheel as `pip install .` does."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, REPOSITORY]
    subprocess.run(command, check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    return wheel


def fresh_environment(folder: Path, wheel: Path) -> Path:
    """Installs a wheel, without extras, into a new environment; returns its Python.

    What the wheel asks for is linked from the environment of the tests, which takes a second and no
    network: the packages that it names, those that these name, and no other one.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    (place,) = folder.glob("lib/python*/site-packages")
    (own,) = (d for d in distributions(path=[str(place)]) if d.name == "nucleus-data")
    here = {canonicalize_name(d.name): d for d in distributions() if d.name}
    linked: set[tuple[str, str]] = set()
    _link_needed(own, "", here, place, linked)
    _keep_compiled(place)
    # Each requirement is there, in a version that is asked for.
    subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)
    return python


def _keep_compiled(place: Path) -> None:
    """Copies what numba has compiled of the same sources, which would take a minute again."""
    for file in REPOSITORY.glob("nucleus_data/**/__pycache__/*.nb[ic]"):
        target = place / file.relative_to(REPOSITORY)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, target)
        # Numba knows a source by its size and time.
        source = file.parents[1] / f"{file.name.split('.')[0]}.py"
        times = source.stat()
        copy = place / source.relative_to(REPOSITORY)
        os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))


def _link_needed(
    wanting: Distribution,
    extra: str,
    here: dict[str, Distribution],
    place: Path,
    linked: set[tuple[str, str]],
) -> None:
    """Links what a package asks for, with what that asks for."""
    for text in wanting.requires or ():
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(needed.name)
        for asked in ("", *sorted(needed.extras)):
            if (name, asked) in linked:
                continue
            linked.add((name, asked))
            _link(here[name], place)
            _link_needed(here[name], asked, here, place, linked)


def _link(package: Distribution, place: Path) -> None:
    for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
        if not (place / top).exists():
            (place / top).symlink_to(Path(str(package.locate_file(top))).resolve())
