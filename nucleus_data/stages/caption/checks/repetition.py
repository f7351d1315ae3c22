"""The check `repetition`: the same again and again, as a decoder that loops says it.

Three measures, as one alone either misses loops or finds them in good lists. A *loop* is a block of
words right behind itself. The *n-gram share* is how many of a text's words stand in a run of
`NGRAM` words that was there before (Rae et al. 2021, "Scaling Language Models", table A1). The
*compression* is how many times shorter zlib makes it. "A small red ring is in the top left. A small
red ring is in the top right." has a high n-gram share and is right, so the bound is near 1.
"""

import re
import zlib
from typing import ClassVar

from pydantic import Field

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.text import shortened, words_of

NGRAM = 8
FEWEST_WORDS = 24  # for the n-gram share
FEWEST_BYTES = 160  # for the compression
BLOCKS = 4  # in a loop; three of a long block will do
LONG_BLOCK = 4
LETTERS = 2  # of a script without spaces stand for one word
LONGEST_BLOCK = 40
# A word that is a loop in itself.
_STUTTER = re.compile(r"(?=(\S{2,12}?)\1{5,})\S{20,}")
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
        repeated = len(words) - len(set(words))
        # A loop has its words at least three times.
        if repeated >= self.loop_words // 2 and (loop := longest_loop(words, self.loop_words)):
            start, block, length = loop
            unit = " ".join(words[start : start + block])
            return f"{length} words in a row repeat {shortened(unit)!r}"
        if stutter := _STUTTER.search(text):
            return f"a word repeats {stutter[1]!r}: {shortened(stutter[0])!r}"
        if len(words) >= FEWEST_WORDS and repeated >= self.share * len(words) / 2:
            share = repeated_share(words)
            if share >= self.share:
                return f"{share:.0%} of its words were there before, in runs of {NGRAM}"
        raw = text.encode("utf-8", "replace")
        # What has few words twice does not become five times shorter.
        if len(raw) >= FEWEST_BYTES and (ratio := compression(raw)) >= self.compression:
            return f"it becomes {ratio:.1f} times shorter by zlib: {shortened(text)!r}"
        return None


def longest_loop(words: tuple[str, ...], fewest: int) -> tuple[int, int, int] | None:
    """The longest run in which a block of words stands behind itself.

    Args:
        words: In their order.
        fewest: Words that it must have.

    Returns:
        Where it begins, words of the block, words of the run; None without one. A run that differs
        in numbers alone ("shape 1, shape 2, ...") counts if it has three times as many blocks.
    """
    best: tuple[int, int, int] | None = None
    # One letter a word: a script without spaces.
    scale = LETTERS if sum(len(word) == 1 for word in words) > len(words) / 2 else 1
    numbered = tuple(_DIGITS.sub("0", word) for word in words)
    exact = numbered == words
    for line, patience in ((words, 1), (numbered, 3))[: 1 if exact else 2]:
        for block in range(1, min(LONGEST_BLOCK, len(line) // 3) + 1):
            need = (3 if block >= LONG_BLOCK * scale else BLOCKS) * patience
            if len(line) < need * block:
                break
            same = 0
            # `same` words at the end equal those one block before; the first block is one more.
            for at in range(block, len(line) + 1):
                if at < len(line) and line[at] == line[at - block]:
                    same += 1
                    continue
                length, start = same + block, at - same - block
                lettered = any(w.strip("0") for w in line[start : start + block])
                enough = length >= max(fewest * scale, need * block) and (patience == 1 or lettered)
                if same and enough and (best is None or length > best[2]):
                    best = start, block, length
                same = 0
    return best


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
