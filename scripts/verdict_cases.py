"""Comparisons whose outcome is known, from pictures to sentence, each by one command.

    python scripts/verdict_cases.py stamps-swapped               # 30 % of the captions swapped
    python scripts/verdict_cases.py stamps-swapped --dose 0.1
    python scripts/verdict_cases.py emoji-swapped --text all-MiniLM-L6-v2
    python scripts/verdict_cases.py world-curated --out cases --json curated.json
    python scripts/verdict_cases.py world-alt-texts --preset debug     # whether all works

Both sets and the yardstick are made by the product's stages (ingest to shard, captions imported),
compared as `nucleus verdict` does, and kept in the folder of the cases: what was killed goes on.
What is compared in which case: scripts/cases/plans.py. Exit code 1: it is not what is expected.
"""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_data.views import verdict as view
from nucleus_model.settings.text_encoder import TextSettings
from nucleus_model.settings.verdict import VerdictSettings
from scripts.cases.plans import CASES, QUICK, Case, Size

SHOWN = ("loss", "low_sigma", "high_sigma", "caption_gap", "empty_gap", "memorised")


def run_case(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Makes the sets of a case, and compares them.

    Args:
        name: A key of `CASES`.
        options: As the command line has them.

    Returns:
        What is printed and written: sentence, measures, pictures, seconds.
    """
    case = CASES[name]
    dose = case.dose if options.dose is None else options.dose
    size = QUICK if options.preset == "debug" else Size()
    out = options.out.resolve()
    began, spent = time.monotonic(), _processor()
    sides = case.make(out, size, dose)
    sets = _processor() - spent
    settings = VerdictSettings(
        preset=options.preset,
        replicates=options.seeds,
        most=max(12, options.seeds),
        text=text_of(options.text),
    )
    reads = "" if options.text is None else f"-{options.text.resolve().name}"
    folder = out / f"{name}-{round(100 * dose)}-{options.preset}{reads}"
    done: list[int] = []

    def progress(count: int, of: int) -> None:
        done.append(count)
        print(f"{name}: {count} of {of} runs", file=sys.stderr, flush=True)

    began, spent = time.monotonic(), _processor()
    content = view.verdict(
        sides.a,
        sides.b,
        folder,
        settings,
        reference=sides.yardstick,
        workers=options.workers,
        progress=progress,
    )
    for line in view.lines(content, folder):
        print(line)
    # Of a comparison that went on, the seconds of its first part are not known.
    whole = not done or done[0] == 0
    seconds = {
        "sets_processor": round(sets, 1),
        "comparison_processor": round(_processor() - spent, 1) if whole else None,
        "comparison_wall": round(time.monotonic() - began, 1) if whole else None,
        "workers": options.workers,
    }
    return {"case": name, "dose": dose, **summary(case, content), "seconds": seconds}


def text_of(folder: Path | None) -> TextSettings:
    """The last state of a sentence encoder; of none, the packaged text encoder."""
    if folder is None:
        return TextSettings()
    return TextSettings(model=str(folder.resolve()), hidden_state=-1)


def summary(case: Case, content: Mapping[str, Any]) -> dict[str, Any]:
    """What is worth keeping of a verdict, and whether it is what is expected."""
    return {
        "preset": content["preset"],
        "text": content["text"]["name"],
        "sentence": content["sentence"],
        "word": content["word"],
        "expected": case.word,
        "as_expected": case.expected(content),
        "seeds": content["replicates"][0],
        "shared": content["shared"],
        "pictures": {arm: content["arms"][arm]["pictures"] for arm in ("a", "b")},
        "yardstick": content["reference"]["pictures"],
        "pairs": content["pairs"],
        "measures": {
            found["measure"]["name"]: {
                **{key: found[key] for key in ("a", "b", "p", "detectable", "direction")},
                **{key: found["interval"][key] for key in ("mean", "low", "high")},
            }
            for found in content["findings"]
        },
    }


def table(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What cases found, as Markdown; what was told apart is bold."""
    header = ("case, dose", "text encoder", "pictures A, B, both", "seeds", "B is", *SHOWN)
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for one in found:
        told = []
        for name in SHOWN:
            of = one["measures"][name]
            ends = [of["mean"], *(of[end] for end in ("low", "high"))]
            mean, low, high = ("unbounded" if end is None else f"{end:+.4f}" for end in ends)
            told.append(
                f"**{mean}**, {low} to {high}" if of["direction"] else f"{mean}, {low} to {high}"
            )
        pictures = ", ".join(map(str, (*one["pictures"].values(), one["shared"]["both"])))
        # A dose of 1 is all of it, as short captions are.
        dose = "" if one["dose"] == 1 else f", {one['dose']:.0%}"
        yield (
            f"| `{one['case']}`{dose} | {one['text']} | {pictures} | {one['seeds']} | "
            f"{one['word']} | {' | '.join(told)} |"
        )


def _processor() -> float:
    """Seconds of processor time of this process and of those of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", choices=[*CASES, "table"], help="or a table of what --json wrote")
    parser.add_argument("files", nargs="*", type=Path, help="of the table")
    parser.add_argument("--out", type=Path, default=Path("verdict-cases"), metavar="DIR")
    parser.add_argument("--preset", choices=("nano", "debug"), default="nano")
    parser.add_argument(
        "--text", type=Path, metavar="FOLDER", help="a sentence encoder (scripts/get_text_encoder)"
    )
    parser.add_argument("--dose", type=float, metavar="SHARE", help="of what is wrong [the case's]")
    parser.add_argument("--seeds", type=int, default=6, help="runs of each set")
    parser.add_argument("--workers", type=int, metavar="N", help="runs at once [one a core]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was found")
    options = parser.parse_args(arguments)
    if options.case == "table":
        for line in table([json.loads(file.read_text()) for file in options.files]):
            print(line)
        return 0
    found = run_case(options.case, options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(options.json)
    seconds = found["seconds"]
    told = "as expected" if found["as_expected"] else f"NOT as expected ({found['expected']})"
    print(
        f"{options.case}, dose {found['dose']:g}: {found['word']}, {told}; processor seconds: sets "
        f"{seconds['sets_processor']}, comparison {seconds['comparison_processor']}; by the clock "
        f"{seconds['comparison_wall']}"
    )
    return 0 if found["as_expected"] else 1


if __name__ == "__main__":
    sys.exit(main())
