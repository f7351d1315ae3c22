"""The check `repetition`: the same again and again, as a decoder that loops says it.

Three measures, as one alone either misses loops or finds them in good lists. A *loop* is a block of
words right behind itself. The *n-gram share* is how many of a text's words stand in a run of
`NGRAM` words that was there before (Rae et al. 2021, "Scaling Language Models", table A1). The
*compression* is how many times shorter zlib makes it. "A small red ring is in the top left. A small
red ring is in the top right." has a high n-gram share and is right, so the bound is near 1.
"""

import re
import zlib
from bisect import bisect_right
from collections import Counter
from typing import ClassVar

from pydantic import Field

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.text import shortened, words_of

NGRAM = 8
GRAM = 6  # words; a loop of eight words has a run of six twice
FEWEST_WORDS = 24  # for the n-gram share
FEWEST_BYTES = 160  # for the compression
BLOCKS = 4  # in a loop; three of a long block will do
LONG_BLOCK = 4
LETTERS = 2  # of a script without spaces stand for one word
LONGEST_BLOCK = 40
STUTTER = 20  # letters
# A word that is a loop in itself.
_STUTTER = re.compile(rf"(?=(\S{{2,12}}?)\1{{5,}})\S{{{STUTTER},}}")
_DIGITS = re.compile(r"\d+")


class Repetition(Check):
    """The same words, sentences or letters again and again."""

    name: ClassVar[str] = "repetition"
    rank: ClassVar[int] = 30

    loop_words: int = Field(
        default=8,
        ge=2,
        description="Fewest words of a loop: a block of words that stands behind itself, four times"
        " in all, or three if it has four words or more. Of scripts without spaces, characters.",
    )
    share: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description=f"Least share of words in runs of {NGRAM} words that were there before, of a"
        f" text with {FEWEST_WORDS} words or more.",
    )
    compression: float = Field(
        default=5.0,
        gt=1,
        description=f"Least factor by which zlib shortens a text of {FEWEST_BYTES} bytes or more.",
    )

    def find(self, said: Said) -> str | None:
        """Looks for loops, for what was there before, and compresses."""
        text = said.prose
        words = words_of(text)
        if max(map(len, text.split()), default=0) >= STUTTER and (stutter := _STUTTER.search(text)):
            return f"a word repeats {stutter[1]!r}: {shortened(stutter[0])!r}"
        # Most texts have no few words twice in a row, and so none of the three.
        if not _comes_again(words, max(1, min(GRAM, self.loop_words - 2))):
            return None
        if loop := longest_loop(words, self.loop_words):
            start, block, length = loop
            unit = " ".join(words[start : start + block])
            return f"{length} words in a row repeat {shortened(unit)!r}"
        if len(words) >= FEWEST_WORDS and (share := repeated_share(words)) >= self.share:
            return f"{share:.0%} of its words were there before, in runs of {NGRAM}"
        raw = text.encode("utf-8", "replace")
        if len(raw) >= FEWEST_BYTES and (ratio := compression(raw)) >= self.compression:
            return f"it becomes {ratio:.1f} times shorter by zlib: {shortened(text)!r}"
        return None


def _comes_again(words: tuple[str, ...], length: int) -> bool:
    """Whether a run of so many words is in a text twice; numbers pass for each other."""
    words = _unnumbered(words)
    runs = list(zip(*(words[at:] for at in range(length)), strict=False))
    return len(set(runs)) < len(runs)


def _unnumbered(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words, in which all numbers are the same."""
    line = " ".join(words)
    return tuple(_DIGITS.sub("0", line).split(" ")) if _DIGITS.search(line) else words


def longest_loop(words: tuple[str, ...], fewest: int) -> tuple[int, int, int] | None:
    """The longest run in which a block of words stands behind itself.

    Args:
        words: In their order.
        fewest: Words that it must have.

    Returns:
        Where it begins, words of the block, words of the run; None without one. A run that differs
        in numbers alone ("shape 1, shape 2, ...") counts if it has three times as many blocks.
    """
    # One letter a word: a script without spaces.
    letters = sum(len(word) == 1 and not word.isascii() for word in words)
    scale = LETTERS if letters > len(words) / 2 else 1
    found = _runs(words, fewest * scale, LONG_BLOCK * scale, 1)
    if _DIGITS.search(" ".join(words)):
        numbered = _unnumbered(words)
        runs = _runs(numbered, fewest * scale, LONG_BLOCK * scale, 3)
        # Numbers alone are no block: "2, 4, 6, 8".
        found += [
            (start, block, length)
            for start, block, length in runs
            if any(word.strip("0") for word in numbered[start : start + block])
        ]
    return max(found, key=lambda run: run[2], default=None)


def _runs(
    words: tuple[str, ...], fewest: int, long_block: int, patience: int
) -> list[tuple[int, int, int]]:
    """The longest run of each length of a block, where it has words and blocks enough."""
    found = []
    for block, again in sorted(_distances(words).items()):
        rounds = (3 if block >= long_block else BLOCKS) * patience
        need = max(fewest, rounds * block) - block
        if again < need or len(words) < need + block:
            continue
        longest, at, length = 0, 0, 0
        for place, (one, other) in enumerate(zip(words[block:], words, strict=False)):
            length = length + 1 if one == other else 0
            if length > longest:
                longest, at = length, place + 1 - length
        if longest >= need:
            found.append((at, block, longest + block))
    return found


def _distances(words: tuple[str, ...]) -> Counter[int]:
    """How many words stand so far behind themselves, of the distances that a block may have."""
    largest = min(LONGEST_BLOCK, len(words) // 3)
    places: dict[str, list[int]] = {}
    for at, word in enumerate(words):
        places.setdefault(word, []).append(at)
    return Counter(
        later - at
        for some in places.values()
        for number, at in enumerate(some, 1)
        for later in some[number : bisect_right(some, at + largest)]
    )


def repeated_share(words: tuple[str, ...]) -> float:
    """Share of a text's words that stand in a run of `NGRAM` words that was there before."""
    seen: set[tuple[str, ...]] = set()
    covered = [False] * len(words)
    for at in range(len(words) - NGRAM + 1):
        run = words[at : at + NGRAM]
        if run in seen:
            covered[at : at + NGRAM] = [True] * NGRAM
        seen.add(run)
    return sum(covered) / len(words)


def compression(raw: bytes) -> float:
    """How many times shorter zlib makes a text, without its header."""
    return len(raw) / max(1, len(zlib.compress(raw, 6)) - 6)
