"""Whether any file crashes, hangs or bloats the decoder, or leaves it without a reason.

    python scripts/fuzz_pixels.py --mutations 20000 --seed 0
    python scripts/fuzz_pixels.py --folder Pillow/Tests/images --json outcomes.json
    python scripts/fuzz_pixels.py --atheris 600             # guided by coverage of the Python code

Every file is opened in a child process; all views and all signals are asked for. A finding is a
child that dies, one file that takes more than 5 s of processor time or brings the child above 1 GB,
and any exception but `PixelError`. Findings are kept in --keep, and make the exit status 1.
"""

import argparse
import json
import multiprocessing as mp
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FunctionType

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.signals import load_group
from nucleus_data.stages.inspect.stage import InspectSettings
from nucleus_data.world.damage import mutated
from scripts.fuzz_files import valid_files
from scripts.memory import peak_memory

MAX_SECONDS = 5.0
MAX_MB = 1000.0
WALL_SECONDS = 30.0  # a stuck child uses no processor time
ADDRESS_SPACE = 6 * 10**9
CHILDREN = 2
GROUPS = [load_group(path) for path in (*InspectSettings().signals, "canonical")]


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        name: The file's name.
        result: `ok`, a reason code, or `CRASH`, `HANG`, `MEMORY`, `EXCEPTION`.
        seconds: Processor time.
        mb: Peak resident memory of the child while it worked on this file.
        detail: What was raised.
    """

    name: str
    result: str
    seconds: float = 0.0
    mb: float = 0.0
    detail: str = ""

    @property
    def found(self) -> bool:
        """Whether it is a finding."""
        return self.result.isupper()


def look(data: bytes) -> str:
    """Asks for every view and every signal.

    Args:
        data: A file.

    Returns:
        `ok`, or the reason for which it can't be read.
    """
    try:
        picture = open_picture(data)
        header = picture.header
        assert picture.luma_full.shape == (header.height, header.width)
        assert picture.small.shape[2] == 3
        assert picture.luma_small.shape == picture.small.shape[:2]
        assert picture.rgb().shape == (header.height, header.width, 3)
        assert max(picture.rgb(max_side=64).shape[:2]) <= 64
        for group in GROUPS:
            group.measure(picture, None)
    except PixelError as error:
        return error.reason.value
    return "ok"


def _serve(pipe: Connection) -> None:
    """A child: files in, outcomes out."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for _, data in valid_files():
        look(data)  # compiles what is compiled
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    pipe.send(None)
    while True:
        name, data = pipe.recv()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        start = time.process_time()
        detail = ""
        try:
            result = look(data)
        except MemoryError:
            result = "MEMORY"
        except BaseException:
            result, detail = "EXCEPTION", traceback.format_exc()
        seconds, mb = time.process_time() - start, peak_memory() / 2**20
        if mb > MAX_MB:
            result = "MEMORY"
        elif seconds > MAX_SECONDS:
            result = "HANG"
        pipe.send(Outcome(name, result, seconds, mb, detail))


class _Child:
    def __init__(self) -> None:
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()
        self.job: tuple[str, bytes] | None = None
        self.since = 0.0

    def give(self, job: tuple[str, bytes]) -> None:
        self.job, self.since = job, time.monotonic()
        self.pipe.send(job)

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def outcomes(files: Iterable[tuple[str, bytes]]) -> Iterator[tuple[Outcome, bytes]]:
    """Opens each file in one of a few children; those that die are replaced.

    Args:
        files: Names and contents.

    Yields:
        Each file's outcome and its contents.
    """
    jobs = iter(files)
    children = [_Child() for _ in range(CHILDREN)]
    for child in children:
        _feed(child, jobs)
    try:
        while busy := [child for child in children if child.job]:
            ready = wait([child.pipe for child in busy], timeout=1.0)
            for child in busy:
                assert child.job
                name, data = child.job
                outcome = None
                if child.pipe in ready:
                    try:
                        outcome = child.pipe.recv()
                    except (EOFError, ConnectionResetError):
                        child.process.join()
                        outcome = Outcome(name, "CRASH", detail=f"exit {child.process.exitcode}")
                elif time.monotonic() - child.since > WALL_SECONDS:
                    outcome = Outcome(name, "HANG", WALL_SECONDS)
                if outcome is None:
                    continue
                yield outcome, data
                if outcome.result in ("CRASH", "HANG"):
                    child.end()
                    children[children.index(child)] = child = _Child()
                _feed(child, jobs)
    finally:
        for child in children:
            child.end()


def _feed(child: _Child, jobs: Iterator[tuple[str, bytes]]) -> None:
    child.job = None
    job = next(jobs, None)
    if job is not None:
        child.give(job)


def mutations(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged copies of `valid_files`, all formats in turn; the same for the same seed."""
    seeds = valid_files()
    for index in range(count):
        name, _ = seeds[index % len(seeds)]
        yield f"{name}-{seed}-{index}", mutated(seeds, index, np.random.default_rng([seed, index]))


def table(found: Sequence[tuple[str, Outcome]]) -> str:
    """Outcomes by kind of file, with the worst time and the highest memory.

    Args:
        found: Kinds and outcomes.
    """
    kinds: dict[str, list[Outcome]] = defaultdict(list)
    for kind, outcome in found:
        kinds[kind].append(outcome)
    lines = [f"{'files':12} {'count':>6} {'worst s':>8} {'peak MB':>8}  outcomes"]
    for kind, of_kind in sorted(kinds.items()):
        counts = Counter(outcome.result for outcome in of_kind).most_common()
        worst, peak = max(o.seconds for o in of_kind), max(o.mb for o in of_kind)
        told = ", ".join(f"{result} {count}" for result, count in counts)
        lines.append(f"{kind:12} {len(of_kind):6} {worst:8.2f} {peak:8.0f}  {told}")
    return "\n".join(lines)


def _instrument(instrument: Callable[[FunctionType], FunctionType]) -> None:
    """Lets coverage of the decoder's and Pillow's Python code be seen; compiled code stays dark."""
    for name, module in list(sys.modules.items()):
        if not name.startswith(("nucleus_data.pixels", "PIL.")) or name.endswith("kernels"):
            continue
        owners = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == name]
        for owner in (module, *owners):
            for attribute, value in list(vars(owner).items()):
                if isinstance(value, FunctionType) and value.__module__ == name:
                    setattr(owner, attribute, instrument(value))


def _atheris(seconds: int, keep: Path) -> int:
    try:
        import atheris
    except ImportError:
        print("fuzz_pixels: --atheris needs atheris: pip install atheris", file=sys.stderr)
        return 2
    corpus = keep / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for name, data in valid_files():
        (corpus / name).write_bytes(data)
    _instrument(atheris.instrument_func)
    options = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2000", "-max_len=20000"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={keep}/", str(corpus)], look)
    atheris.Fuzz()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = found.add_mutually_exclusive_group(required=True)
    what.add_argument("--mutations", type=int, metavar="N", help="damaged copies of valid files")
    what.add_argument("--folder", type=Path, metavar="DIR", help="every file of a folder")
    what.add_argument("--atheris", type=int, metavar="SECONDS", help="guided by coverage")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--json", type=Path, metavar="FILE", help="write every outcome")
    found.add_argument(
        "--keep", type=Path, metavar="DIR", default=Path(tempfile.gettempdir()) / "fuzz-findings"
    )
    given = found.parse_args(arguments)
    if given.atheris:
        return _atheris(given.atheris, given.keep)
    if given.folder:
        paths = sorted(path for path in given.folder.rglob("*") if path.is_file())
        if not paths:
            print(f"fuzz_pixels: no files in {given.folder}", file=sys.stderr)
            return 2
        files: Iterator[tuple[str, bytes]] = (
            (str(path.relative_to(given.folder)), path.read_bytes()) for path in paths
        )
    else:
        files = mutations(given.mutations, given.seed)
    rows: list[tuple[str, Outcome]] = []
    for outcome, data in outcomes(files):
        kind = Path(outcome.name).suffix if given.folder else outcome.name.split(".")[0]
        rows.append((kind, outcome))
        if outcome.found:
            given.keep.mkdir(parents=True, exist_ok=True)
            kept = given.keep / outcome.name.replace("/", "_")
            kept.write_bytes(data)
            print(f"{outcome.result} {kept} {outcome.seconds:.1f} s {outcome.mb:.0f} MB")
            print(outcome.detail)
    print(table(rows))
    if given.json:
        told = sorted((vars(outcome) for _, outcome in rows), key=lambda row: str(row["name"]))
        given.json.write_text(json.dumps(told, indent=1) + "\n")
        print(given.json)
    findings = sum(outcome.found for _, outcome in rows)
    print(f"{len(rows)} files, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
