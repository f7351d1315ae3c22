"""Fits the linear models of the caption checks `refusal`, `chatter` and `boilerplate`.

    python -m scripts.fit_checks             # writes learned/weights.txt of the checks
    python -m scripts.fit_checks --held-out  # each author's answers by a fit on all others'
    python -m scripts.fit_checks --unseen    # by the checks as they are: answers never fitted on

The answers that it is fitted on are in `scripts/checks/sets/answers`, one file per author, each
with its kind, besides true captions of the world. `e.jsonl` was written by the author of the model,
the others by language models that had not seen the checks: `a` to `i` were asked to write as
misbehaving captioners do, with as many different wordings as possible, `j` to `o` with the wordings
that captioners typically use. The answers in `scripts/checks/sets/unseen` are like the latter. They
are never fitted on, and no phrase was added because of them.
"""

import argparse
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nucleus_data.stages.caption.checks import Said
from nucleus_data.stages.caption.checks.boilerplate import Boilerplate
from nucleus_data.stages.caption.checks.chatter import Chatter
from nucleus_data.stages.caption.checks.learned import (
    BIAS,
    KINDS,
    LEAST,
    WEIGHTS,
    judge,
    read_model,
)
from nucleus_data.stages.caption.checks.learned.terms import is_plain, read_token
from nucleus_data.stages.caption.checks.refusal import Refusal
from scripts.bench_checks import shared
from scripts.checks.fitting import Penalty, fit_kinds, read_sentences
from scripts.checks.real import world

ANSWERS = Path(__file__).parent / "checks/sets/answers"
UNSEEN = Path(__file__).parent / "checks/sets/unseen"
WORLD = 60  # scenes, of which each has five true captions
# Of captions with words to the user or about the picture, and of good ones, one in so many is also
# taught with words missing: behind an opening that is new to it, a captioner omits what it tells,
# and what is left of such an answer is no refusal.
DAMAGED_ONE_IN = 4
OMITTED = 0.4  # of the words of a damaged one that tell what is in a picture
OWN = "e"  # by the author of the models, and so never held out
# Log odds from which on a kind is found: more likely than all others, with good answers as common
# as twice any kind (`fitting.NONE`).
LEASTS = (0.0, 0.0, 0.0)
HEAD = """\
# Weights of terms, as `python -m scripts.fit_checks` fitted them: words as they are, classes of
# words (classes.txt) in capitals, ".." for one to three words between, ^^ for where an answer
# begins, ^ for where a later sentence does, $ for an end. ~ is what no word says, as
# ~least: the log odds from which on a kind is found. A term, and its weights for refusal,
# chatter and boilerplate:
"""

Answer = tuple[str, str]  # its kind, "good" for none, and the text


def answers(but: str = "") -> list[Answer]:
    """The answers of all authors but one, with true captions of the world."""
    found = [("good", text) for text, _ in world(WORLD)]
    for file in sorted(ANSWERS.glob("*.jsonl")):
        if file.stem != but:
            found += read(file)
    return [*found, *damaged(found)]


def damaged(taught: Sequence[Answer]) -> list[Answer]:
    """Every fourth answer that is no refusal, without some words that tell what is there."""
    found = []
    for number, (kind, text) in enumerate(taught):
        if kind != "refusal" and number % DAMAGED_ONE_IN == 0:
            rng = random.Random(text)
            pieces = re.findall(r"[A-Za-z']+|[^A-Za-z']+", text)
            left = ["" if _tells(piece) and rng.random() < OMITTED else piece for piece in pieces]
            found.append((kind, "".join(left)))
    return found


def _tells(word: str) -> bool:
    if not word.isalpha():
        return False
    token = read_token(word.lower())
    return all(map(is_plain, token.words, token.symbols))


def read(file: Path) -> list[Answer]:
    """The answers of one author."""
    lines = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return [(line["kind"], line["text"]) for line in lines]


def fitted(taught: Sequence[Answer], penalty: Penalty) -> tuple[list[str], np.ndarray]:
    """Terms, and weights of kinds with their biases in the last row, shape (terms + 1, kinds)."""
    data = read_sentences([text for _, text in taught], penalty.fewest)
    kinds = np.array([KINDS.index(kind) if kind in KINDS else len(KINDS) for kind, _ in taught])
    return data.names, fit_kinds(data, kinds, len(KINDS), penalty)


def written(names: Sequence[str], weights: np.ndarray) -> str:
    """The content of `weights.txt`: terms that have a weight, in their order."""
    rows = dict(zip(names, weights[:-1].round(2).tolist(), strict=True))
    rows = {name: row for name, row in sorted(rows.items()) if any(row)}
    rows = {BIAS: weights[-1].round(2).tolist(), LEAST: list(LEASTS)} | rows
    lines = ["\t".join([name, *(f"{x:g}" if x else "" for x in row)]) for name, row in rows.items()]
    return HEAD + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Found:
    """What the checks found of one kind, among answers of all kinds.

    Attributes:
        kind: The kind.
        right: Number of answers of the kind that are named as it.
        true: Number of answers of the kind.
        named: Number of answers that are named as the kind.
        good: Number of good answers among these.
    """

    kind: str
    right: int
    true: int
    named: int
    good: int

    def row(self) -> str:
        """Returns recall, precision, and false alarms as cells of a table."""
        recall, precision = shared(self.right, self.true), shared(self.right, self.named)
        return f"`{self.kind}` | {recall} | {precision} | {self.good} |"


def found_of(answers: Sequence[Answer], found: np.ndarray) -> list[Found]:
    """Counts what was found; the first check that finds an answer names it.

    Args:
        answers: The answers.
        found: Whether each kind's check finds each answer, bool[answers, kinds].
    """
    kinds = np.array([kind for kind, _ in answers])
    first = np.where(found.any(axis=1), found.argmax(axis=1), len(KINDS))
    counts = []
    for number, kind in enumerate(KINDS):
        named, true = first == number, kinds == kind
        good = named & (kinds == "good")
        numbers = [int(mask.sum()) for mask in (named & true, true, named, good)]
        counts.append(Found(kind, *numbers))
    return counts


def held_out(author: str) -> None:
    """Prints what is found of an author's answers by expressions, and with a model of others'."""
    known = read_model(written(*fitted(answers(but=author), Penalty())))
    rows = read(ANSWERS / f"{author}.jsonl")
    own = [Said(text).straight for _, text in rows]
    above = np.array([[bool(words) for words in judge(text, known)] for text in own])
    alone = checked(rows, learned=False)
    for name, found in (("expressions", alone), ("with the model", alone | above)):
        for kind in found_of(rows, found):
            print(f"| {author} | {name} | {kind.row()}", flush=True)


def unseen() -> list[Answer]:
    """Returns the answers that nothing was fitted on."""
    return [answer for file in sorted(UNSEEN.glob("*.jsonl")) for answer in read(file)]


def checked(answers: Sequence[Answer], *, learned: bool = True) -> np.ndarray:
    """Returns whether each kind's check finds each answer, bool[answers, kinds]."""
    checks = (Refusal(learned=learned), Chatter(learned=learned), Boilerplate(learned=learned))
    said = [Said(text, language="en") for _, text in answers]
    return np.array([[check.find(each) is not None for check in checks] for each in said])


def main() -> None:
    """Fits on all answers and writes the weights, or tells how right fits are on others'."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--held-out", action="store_true", help="each author by the others")
    parser.add_argument("--unseen", action="store_true", help="answers that are never fitted on")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    if args.unseen:
        print("| check | recall | precision | of good |\n|---|---|---|---|")
        for found in found_of(unseen(), checked(unseen())):
            print(f"| {found.row()}")
        return
    if args.held_out:
        print("| author | | check | recall | precision | of good |\n|---|---|---|---|---|---|")
        for file in sorted(ANSWERS.glob("*.jsonl")):
            if file.stem != OWN:
                held_out(file.stem)
        return
    names, weights = fitted(answers(), Penalty())
    args.out.write_text(written(names, weights), encoding="utf-8")
    print(f"{(weights[:-1].round(2) != 0).any(axis=1).sum()} terms in {args.out}")


if __name__ == "__main__":
    main()
