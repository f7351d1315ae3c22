"""The check `repetition`: the text repeats itself, as from a decoder stuck in a loop.

There are three measures, since any one of them either misses loops or reports good lists. A *loop*
is a block of words that repeats immediately. The *n-gram share* is the share of a text's words that
are in a repeated n-gram of `NGRAM` words (Rae et al. 2021, "Scaling Language Models", table A1).
The *compression* is the factor by which zlib shortens it. "A small red ring is in the top left. A
small red ring is in the top right." has a high n-gram share and is fine, so that threshold is near
1.
"""

import re
import zlib
from bisect import bisect_right
from collections import defaultdict
from typing import ClassVar

from pydantic import Field

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.text import ngrams, shortened, words_of

NGRAM = 8
GRAM = 6  # words of the n-grams in the fast test: a loop of eight words repeats one of six
FEWEST_WORDS = 24  # minimum length for the n-gram share
FEWEST_BYTES = 160  # minimum length for the compression
BLOCKS = 4  # minimum number of blocks in a loop; three if the block is long
LONG_BLOCK = 4  # words
LETTERS = 2  # characters of a script without spaces that count as one word
LONGEST_BLOCK = 40  # words
STUTTER = 20  # characters
# A single word that is a loop in itself.
_STUTTER = re.compile(rf"(?=(\S{{2,12}}?)\1{{5,}})\S{{{STUTTER},}}")
_DIGITS = re.compile(r"\d+")


class Repetition(Check):
    """The same words, sentences or letters over and over."""

    name: ClassVar[str] = "repetition"
    rank: ClassVar[int] = 30

    loop_words: int = Field(
        default=8,
        ge=2,
        description="A text fails if it has a loop of at least this many words: a block of words"
        " that occurs four times in a row, or three times if it has four words or more. In scripts"
        " without spaces, characters are counted.",
    )
    share: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description=f"A text of {FEWEST_WORDS} words or more fails if at least this share of its"
        f" words is in repeated n-grams of {NGRAM} words.",
    )
    compression: float = Field(
        default=5.0,
        gt=1,
        description=f"A text of {FEWEST_BYTES} bytes or more fails if zlib shortens it by at least"
        " this factor.",
    )

    def find(self, said: Said) -> str | None:
        """Looks for stuttering, loops and repeated n-grams, then compresses."""
        text = said.prose
        words = words_of(text)
        if max(map(len, text.split()), default=0) >= STUTTER and (stutter := _STUTTER.search(text)):
            return f"a word repeats {stutter[1]!r}: {shortened(stutter[0])!r}"
        # A fast test: most texts have no repeated n-gram, and so pass all three measures.
        if len(set(runs := ngrams(_unnumbered(words), _gram(self.loop_words)))) == len(runs):
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


def _gram(fewest: int) -> int:
    """Returns the length of an n-gram that repeats in every loop of `fewest` words or more."""
    return max(1, min(GRAM, fewest - 2))


def _unnumbered(words: tuple[str, ...]) -> tuple[str, ...]:
    """Replaces all numbers by 0, so that they compare equal."""
    line = " ".join(words)
    return tuple(_DIGITS.sub("0", line).split(" ")) if _DIGITS.search(line) else words


def longest_loop(words: tuple[str, ...], fewest: int) -> tuple[int, int, int] | None:
    """Finds the longest loop: a run in which a block of words repeats immediately.

    Args:
        words: The text's words, in order.
        fewest: Minimum number of words of the run.

    Returns:
        Start of the run, words per block, words of the run; None if there is no loop. If blocks
        differ only in numbers ("shape 1, shape 2, ..."), three times as many are required.
    """
    # Mostly words of one non-ASCII character: a script without spaces.
    letters = sum(len(word) == 1 and not word.isascii() for word in words)
    scale = LETTERS if letters > len(words) / 2 else 1
    loops = _runs(words, fewest * scale, LONG_BLOCK * scale, 1)
    if _DIGITS.search(" ".join(words)):
        numbered = _unnumbered(words)
        runs = _runs(numbered, fewest * scale, LONG_BLOCK * scale, 3)
        # A list of numbers ("2, 4, 6, 8") is not a loop.
        loops += [
            (start, block, length)
            for start, block, length in runs
            if any(word.strip("0") for word in numbered[start : start + block])
        ]
    return max(loops, key=lambda run: run[2], default=None)


def _runs(
    words: tuple[str, ...], fewest: int, long_block: int, patience: int
) -> list[tuple[int, int, int]]:
    """Returns the longest run for each block length, if it has enough words and blocks."""
    longest_runs = []
    for block in sorted(_distances(words, _gram(fewest))):
        rounds = (3 if block >= long_block else BLOCKS) * patience
        need = max(fewest, rounds * block) - block
        if len(words) < need + block:
            continue
        longest, at, length = 0, 0, 0
        for place, (word, before) in enumerate(zip(words[block:], words, strict=False)):
            length = length + 1 if word == before else 0
            if length > longest:
                longest, at = length, place + 1 - length
        if longest >= need:
            longest_runs.append((at, block, longest + block))
    return longest_runs


def _distances(words: tuple[str, ...], length: int) -> set[int]:
    """Returns the distances at which n-grams of `length` words recur: possible block lengths."""
    largest = min(LONGEST_BLOCK, len(words) // 3)
    runs = ngrams(words, length)
    last = dict(zip(runs, range(len(runs)), strict=True))
    again = [last[run] for run in runs]
    repeated = {place for at, place in enumerate(again) if place != at}  # hardly any
    places = defaultdict[int, list[int]](list)
    for at, place in enumerate(again):
        if place in repeated:
            places[place].append(at)
    return {
        later - at
        for of_gram in places.values()
        for number, at in enumerate(of_gram, 1)
        for later in of_gram[number : bisect_right(of_gram, at + largest)]
    }


def repeated_share(words: tuple[str, ...]) -> float:
    """Returns the share of a text's words that are in a repeated n-gram of `NGRAM` words."""
    seen: set[tuple[str, ...]] = set()
    covered = [False] * len(words)
    for at, run in enumerate(ngrams(words, NGRAM)):
        if run in seen:
            covered[at : at + NGRAM] = [True] * NGRAM
        seen.add(run)
    return sum(covered) / len(words)


def compression(raw: bytes) -> float:
    """Returns the ratio of a text's length to its length compressed by zlib, without header."""
    return len(raw) / max(1, len(zlib.compress(raw, 6)) - 6)
