"""Measures the caption checks: precision, recall, false alarms, speed.

    python -m scripts.bench_checks planted --set second --count 300   # precision and recall
    python -m scripts.bench_checks phrases --set third --count 300    # the same, without a model
    python -m scripts.bench_checks real stamps=FOLDER drawings=FOLDER emoji=FOLDER
    python -m scripts.bench_checks tables --count 400                 # the checks on stored vectors
    python -m scripts.bench_checks speed --count 100000 --processes 2

- `planted`: a logits processor makes the packaged captioner misbehave (`scripts/checks`). An answer
  is classified by the first check that asks again, as in the stage. `--set` names the phrases and
  the world (`scripts/checks/sets`). The exit code is 1 if a check's precision or recall is below
  `--least`.
- `phrases`: the same with phrases inserted into true captions, without a model.
- `real`: alarms on captions written by people, each distinct text once. `stamps` is the unpacked
  package tuxpaint-stamps-default, `drawings` is openclipart-png, `emoji` is made by
  scripts/get_emoji.
- `tables`: shares of wrong captions of the world that the checks on stored vectors find.
- `speed`: processor time of all checks on true captions of the world and on longer ones, in
  processes that share nothing, like the stage's actors.

Shares have 95 % Wilson intervals.
"""

import argparse
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from nucleus_data.engines.agreement import wilson
from nucleus_data.stages.caption.checks import Checks, Said, check_caption, examine
from nucleus_data.stages.caption.settings import Variant
from scripts.checks.phrased import phrased
from scripts.checks.planted import Planted, planted, read_planted, written
from scripts.checks.real import READERS, world
from scripts.checks.tables import tables

# Includes checks that only flag by default.
CHECKS = Checks(boilerplate={"action": "ask_again"})
SHOWN = 5


def measure_planted(answers: Iterable[Planted], show: bool) -> dict[str, float]:
    """Prints a table of precision and recall, and confusions; with examples if `show`.

    Returns:
        The lower one of each check's precision and recall.
    """
    named, made, right = Counter[str](), Counter[str](), Counter[str]()
    caught, confused = Counter[str](), Counter[tuple[str, str]]()
    examples: dict[tuple[str, str], list[str]] = {}
    for answer in answers:
        fault = check_caption(answer.said, CHECKS)
        name = fault.check if fault else ""
        made[answer.kind] += 1
        caught[answer.kind] += (
            name in answer.right if answer.kind else not name or name in answer.right
        )
        if name:
            named[name] += 1
            right[name] += name in answer.right
        if name not in answer.right and (answer.kind or name):
            confused[answer.kind or "clean", name or "nothing"] += 1
            examples.setdefault((answer.kind or "clean", name or "nothing"), []).append(
                f"{answer.said.text!r} {fault.detail if fault else ''}"
            )
    print(f"clean: {caught['']} of {made['']} pass as they should\n")
    print("| check | planted | recall | named | precision |\n|---|---|---|---|---|")
    lower = {}
    for kind in (check.name for check in CHECKS.on):
        if made[kind]:
            recall = shared(caught[kind], made[kind])
            precision = shared(right[kind], named[kind])
            print(f"| `{kind}` | {made[kind]} | {recall} | {named[kind]} | {precision} |")
            lower[kind] = min(caught[kind] / made[kind], right[kind] / max(named[kind], 1))
    for (kind, name), number in confused.most_common():
        print(f"{kind} taken for {name}: {number}")
        for text in examples[kind, name][:SHOWN] if show else ():
            print(f"    {text}")
    return lower


def _answers(count: int, name: str, kept: Path | None) -> Iterable[Planted]:
    """Yields planted answers, from a file if it exists, so that a repetition takes seconds."""
    if kept and kept.exists():
        return [read_planted(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    made = []
    with kept.open("w", encoding="utf-8") if kept else nullcontext() as file:
        for answer in planted(count, name):
            made.append(answer)
            if file:
                file.write(f"{written(answer)}\n")
    return made


def measure_real(sources: list[str], show: bool) -> None:
    """Prints a table of alarms, by check and source."""
    texts: dict[str, list[tuple[str, str | None]]] = {"world": list(world())}
    for source in sources:
        name, _, folder = source.partition("=")
        texts[name] = sorted(set(READERS[name](Path(folder))), key=str)
    alarms: dict[str, Counter[str]] = {name: Counter() for name in texts}
    examples: dict[tuple[str, str], list[str]] = {}
    for name, captions in texts.items():
        for text, language in captions:
            said = Said(text, language=language, template="Describe this image.")
            verdict = examine(said, CHECKS)
            faults = [check.name for check in CHECKS.on if check.name not in verdict.passed]
            alarms[name].update(faults)
            for fault in faults:
                examples.setdefault((name, fault), []).append(text)
    print("| check | " + " | ".join(f"{n} ({len(t):,})" for n, t in texts.items()) + " |")
    print("|---|" + "---|" * len(texts))
    for check in CHECKS.on:
        cells = [shared(alarms[name][check.name], len(texts[name]), 2) for name in texts]
        print(f"| `{check.name}` | {' | '.join(cells)} |")
    for (name, fault), matching in examples.items() if show else ():
        print(f"{fault}, {name}:")
        for text in random.Random(0).sample(matching, min(SHOWN, len(matching))):
            print(f"    {text[:160]!r}")


def measure_speed(count: int, processes: int) -> None:
    """Prints processor seconds per check, and of all checks in processes that share nothing.

    Each process stands for an actor of the stage, which checks its own captions in one thread.
    """
    texts = _texts(0, count // 10)
    answers = [_answer(text) for text in texts]
    checks = Checks()
    checks.ready("en")
    letters = sum(map(len, texts)) / len(texts)
    print(f"{count:,} captions of {letters:.0f} letters; seconds of processor time:")
    for check in checks.on:
        check.find(_answer("A model is loaded once a process."))
        start = time.process_time()
        for said in answers:
            check.find(said)
        took = (time.process_time() - start) / len(texts) * count
        print(f"  {check.name}: {took:.1f} (of a tenth)")
    share = count // processes
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        took_by = list(pool.map(_checked, range(0, count, share), [share] * processes))
    spent, clock = (max(times) for times in zip(*took_by, strict=True))
    whole = sum(times[0] for times in took_by)
    print(
        f"all, as the stage asks: {whole:.1f} in {processes} processes, at most {spent:.1f} in one"
    )
    print(f"on the clock: {clock:.1f} s")


def _texts(first: int, count: int) -> list[str]:
    """Returns true captions of the world; half of them are three captions in a row."""
    base = [text for text, _ in world(count // 10, first // 10)]
    return base + [" ".join(base[at : at + 3]) for at in range(len(base))]


def _answer(text: str) -> Said:
    return Said(text, template=Variant(prompt="short").template, language="en")


def _checked(first: int, count: int) -> tuple[float, float]:
    """Returns processor time and wall-clock time of checks, with the language model loaded."""
    answers = [_answer(text) for text in _texts(first, count)]
    checks = Checks()
    for said in answers[:100]:
        examine(said, checks)
    spent, start = time.process_time(), time.perf_counter()
    for said in answers:
        examine(said, checks)
    return time.process_time() - spent, time.perf_counter() - start


def shared(part: int, whole: int, digits: int = 1) -> str:
    """Formats a share in percent, with its interval."""
    if not whole:
        return "none"
    share, low, high = (f"{100 * x:.{digits}f}" for x in (part / whole, *wilson(part, whole)))
    return f"{part} = {share} % ({low} to {high})"


def main() -> None:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("planted", "phrases", "real", "tables", "speed"))
    parser.add_argument("sources", nargs="*", help="NAME=FOLDER")
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--set", default="second", help="of scripts/checks/sets")
    parser.add_argument("--processes", type=int, default=2, help="that check, for `speed`")
    parser.add_argument("--kept", type=Path, help="file of planted answers, to use again")
    parser.add_argument("--least", type=float, default=0.95, help="for `planted`")
    parser.add_argument("--show", action="store_true", help="print examples of what is wrong")
    args = parser.parse_args()
    if args.what == "planted":
        lower = measure_planted(_answers(args.count or 100, args.set, args.kept), args.show)
        if below := [f"{name} {value:.1%}" for name, value in lower.items() if value < args.least]:
            sys.exit(f"below {args.least:.0%}: {', '.join(below)}")
    elif args.what == "phrases":
        measure_planted(phrased(args.count or 300, args.set), args.show)
    elif args.what == "real":
        measure_real(args.sources, args.show)
    elif args.what == "tables":
        for line in tables(args.count or 400):
            print(line, flush=True)
    else:
        measure_speed(args.count or 100_000, args.processes)


if __name__ == "__main__":
    main()
