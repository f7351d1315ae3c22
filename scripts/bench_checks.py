"""How right and how fast the caption checks are.

    python scripts/bench_checks.py planted --count 100      # precision and recall, minutes
    python scripts/bench_checks.py real stamps=FOLDER drawings=FOLDER emoji=FOLDER
    python scripts/bench_checks.py speed --count 100000

`planted`: the packaged captioner misbehaves by a logits processor (`scripts/checks`), an answer is
named by the first check that asks again, as in the stage. `real`: alarms on captions that people
wrote, each distinct text once, with Wilson's interval of 95 %: `stamps` is the unpacked package
tuxpaint-stamps-default, `drawings` openclipart-png, `emoji` what scripts/get_emoji makes. `speed`:
processor time of all checks on true captions of the world and on longer ones.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

from nucleus_data.engines.agreement import wilson
from nucleus_data.stages.caption import checks as checking
from nucleus_data.stages.caption.checks import Checks, Said, check_caption, examine
from scripts.checks.planted import Planted, planted, read_planted, template, written
from scripts.checks.real import READERS, world

# What is only marked by default is named here too.
CHECKS = Checks(boilerplate={"action": "ask_again"})
SHOWN = 5


def measure_planted(count: int, kept: Path | None, show: bool) -> None:
    """Prints a table of precision and recall, and what was confused.

    Args:
        count: Answers of a kind.
        kept: File of the answers, written if it is not there: other checks are measured in seconds.
        show: Print examples.
    """
    named, made, right = Counter[str](), Counter[str](), Counter[str]()
    found, confused = Counter[str](), Counter[tuple[str, str]]()
    examples: dict[tuple[str, str], list[str]] = {}
    for one in _answers(count, kept):
        fault = check_caption(one.said, CHECKS)
        name = fault.check if fault else ""
        made[one.kind] += 1
        found[one.kind] += name in one.right if one.kind else not name or name in one.right
        if name:
            named[name] += 1
            right[name] += name in one.right
        if name not in one.right and (one.kind or name):
            confused[one.kind or "clean", name or "nothing"] += 1
            examples.setdefault((one.kind or "clean", name or "nothing"), []).append(
                f"{one.said.text!r} {fault.detail if fault else ''}"
            )
    print(f"clean: {found['']} of {made['']} pass as they should\n")
    print("| check | planted | recall | named | precision |\n|---|---|---|---|---|")
    for kind in (check.name for check in CHECKS.each()):
        if made[kind]:
            recall = shared(found[kind], made[kind])
            precision = shared(right[kind], named[kind])
            print(f"| `{kind}` | {made[kind]} | {recall} | {named[kind]} | {precision} |")
    for (kind, name), number in confused.most_common():
        print(f"{kind} taken for {name}: {number}")
        for text in examples[kind, name][:SHOWN] if show else ():
            print(f"    {text}")


def _answers(count: int, kept: Path | None) -> Iterable[Planted]:
    if kept and kept.exists():
        return [read_planted(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    made = []
    with kept.open("w", encoding="utf-8") if kept else nullcontext() as file:
        for one in planted(count):
            made.append(one)
            if file:
                file.write(f"{written(one)}\n")
    return made


def measure_real(sources: list[str], show: bool) -> None:
    """Prints a table of alarms a check and source."""
    texts: dict[str, list[tuple[str, str | None]]] = {"world": list(world())}
    for source in sources:
        name, _, folder = source.partition("=")
        texts[name] = sorted(set(READERS[name](Path(folder))), key=str)
    alarms: dict[str, Counter[str]] = {name: Counter() for name in texts}
    examples: dict[tuple[str, str], list[str]] = {}
    for name, each in texts.items():
        for text, language in each:
            said = Said(text, language=language, template="Describe this image.")
            verdict = examine(said, CHECKS)
            faults = [check.name for check in CHECKS.each() if check.name not in verdict.passed]
            alarms[name].update(faults)
            for fault in faults:
                examples.setdefault((name, fault), []).append(text)
    print("| check | " + " | ".join(f"{n} ({len(t):,})" for n, t in texts.items()) + " |")
    print("|---|" + "---|" * len(texts))
    for check in CHECKS.each():
        cells = [shared(alarms[name][check.name], len(texts[name]), 2) for name in texts]
        print(f"| `{check.name}` | {' | '.join(cells)} |")
    for (name, fault), found in examples.items() if show else ():
        print(f"{fault}, {name}:")
        for text in random.Random(0).sample(found, min(SHOWN, len(found))):
            print(f"    {text[:160]!r}")


def measure_speed(count: int) -> None:
    """Prints processor seconds a check, and of all together."""
    base = [text for text, _ in world(count // 10)]
    longer = [" ".join(base[at : at + 3]) for at in range(len(base))]
    texts = (base + longer)[:count]
    letters = sum(map(len, texts)) / len(texts)
    answers = [Said(text, template=template("short"), language="en") for text in texts]
    checking.Checks().ready("en")
    print(f"{len(texts):,} captions of {letters:.0f} letters")
    for check in CHECKS.each():
        start = time.process_time()
        for said in answers:
            check.find(said)
        print(f"  {check.name}: {time.process_time() - start:.1f} s")
    answers = [Said(text, template=template("short"), language="en") for text in texts]
    start = time.process_time()
    for said in answers:
        check_caption(said, Checks())
    print(
        f"all, as the stage asks: {time.process_time() - start:.1f} s of processor time, one thread"
    )


def shared(part: int, whole: int, digits: int = 1) -> str:
    """A share in percent with its interval."""
    if not whole:
        return "none"
    share, low, high = (f"{100 * x:.{digits}f}" for x in (part / whole, *wilson(part, whole)))
    return f"{part} = {share} % ({low} to {high})"


def main() -> None:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("planted", "real", "speed"))
    parser.add_argument("sources", nargs="*", help="NAME=FOLDER")
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--kept", type=Path, help="file of planted answers, to use again")
    parser.add_argument("--show", action="store_true", help="print examples of what is wrong")
    args = parser.parse_args()
    if args.what == "planted":
        measure_planted(args.count or 100, args.kept, args.show)
    elif args.what == "real":
        measure_real(args.sources, args.show)
    else:
        measure_speed(args.count or 100_000)


if __name__ == "__main__":
    main()
