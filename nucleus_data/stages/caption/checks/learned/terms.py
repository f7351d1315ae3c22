"""Extracts a sentence's terms for the linear models: words, word classes and their n-grams.

    I'm not able to see it.  ->  ^ SELF BE NOT ABLE to SEE it $.

Contractions are expanded ("I'm" is two words), and words in `classes.txt` are replaced by their
class, in capitals. Texts are processed sentence by sentence, as a single sentence of a long caption
can be the refusal. `^` and `$` mark the ends of a sentence. The first sentence begins with `^^`, as
openings differ from later sentences.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
GAP = 4  # maximum distance of the two words of a skip-bigram
# A sentence ends with a full stop, question mark or exclamation mark, or with its line.
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s|[\"')\]*_]|$)[^.!?\n]*)*[.!?\n]*[\"')\]*_]*\s*")
_TOKEN = re.compile(r"\"\"|[a-z]+(?:'[a-z]+)?|\d+|[:?!()*#\u2014;]|--+")
STARTS = ("^^", "^")  # marks of the first sentence, and of others
ENDS = ("$", "$.", "$?", "$!", "$:")
_SHORT = re.compile(r"(n't|'(?:m|d|s|ve|ll|re))$")
_WHOLE = {"can't": ("can", "not"), "cannot": ("can", "not"), "won't": ("will", "not")}
_LONG = {"n't": "not", "'m": "am", "'ve": "have", "'ll": "will", "'re": "are"}


class Token(NamedTuple):
    """A token of the text: one word, or the two words of a contraction.

    Attributes:
        words: The words, in lower case.
        symbols: The class of each word, or the word itself if it has none.
        plain: Number of words without a class, such as those that describe a picture.
    """

    words: tuple[str, ...]
    symbols: tuple[str, ...]
    plain: int = 0


class Sentence(NamedTuple):
    """Words and symbols of a sentence, as in `Token`, with marks at both ends."""

    words: list[str]
    symbols: list[str]
    plain: int


def sentences(text: str) -> list[str]:
    """Splits a text into sentences. The end of a line also ends a sentence."""
    return [stripped for match in _SENTENCE.findall(text) if (stripped := match.strip())]


def tokens(text: str) -> list[str]:
    """Returns the words, numbers and marks of a text in lower case. None contains a space."""
    return _TOKEN.findall(text)


@cache
def classes() -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Reads `classes.txt`.

    Returns:
        Word -> class, and (prefix, class) of prefixes (`describ*`), longest first.
    """
    words, prefixes, name = dict[str, str](), list[tuple[str, str]](), ""
    for line in (FOLDER / "classes.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]").upper()
        elif not line.startswith("#"):
            for word in line.split():
                if word.endswith("*"):
                    prefixes.append((word[:-1], name))
                else:
                    words[word] = name
    return words, tuple(sorted(prefixes, key=lambda prefix: -len(prefix[0])))


@lru_cache(maxsize=1 << 15)
def read_token(text: str) -> Token:
    """Looks up the words of a token and their classes; every number is read as 0."""
    if text[0].isdigit():
        return Token(("0",), ("0",))
    words = tuple(word for word in _written_out(text) if word)
    symbols = tuple(_class(word) for word in words)
    return Token(words, symbols, sum(map(is_plain, words, symbols)))


def _written_out(token: str) -> tuple[str, ...]:
    if parts := _WHOLE.get(token):
        return parts
    if short := _SHORT.search(token):
        return token[: short.start()], _LONG.get(short[0], short[0])
    return (token,)


def _class(word: str) -> str:
    words, prefixes = classes()
    if known := words.get(word):
        return known
    return next((name for start, name in prefixes if word.startswith(start)), word)


def is_plain(word: str, symbol: str) -> bool:
    """Returns whether a token is a word without a class; marks and numbers are not words."""
    return word == symbol and word.isalpha()


def read_sentence(text: str, first: bool) -> Sentence:
    """Tokenizes a sentence.

    Args:
        text: The sentence.
        first: Whether it is the first sentence of its text.
    """
    start = STARTS[0] if first else STARTS[1]
    words, symbols = [start], [start]
    plain = 0
    for token in map(read_token, tokens(text.lower())):
        words += token.words
        symbols += token.symbols
        plain += token.plain
    end = end_mark(text)
    words.append(end)
    symbols.append(end)
    return Sentence(words, symbols, plain)


def end_mark(text: str) -> str:
    """Returns the mark of a sentence's end, one of `ENDS`: `$` and the final punctuation."""
    stop = text.rstrip("\"')]*_")[-1:]
    return f"${stop}" if stop and stop in ".?!:" else "$"


def terms(sentence: Sentence) -> Iterator[tuple[int, int, str]]:
    """Yields a sentence's terms as (index of the first word, index of the last word, term).

    Terms are words and their classes, and of the symbols, bigrams (`SELF BE`), skip-bigrams
    (`SELF .. ABLE`, up to `GAP` apart) and trigrams (`SELF BE NOT`).
    """
    symbols = sentence.symbols
    for at, (word, symbol) in enumerate(zip(sentence.words, symbols, strict=True)):
        yield at, at, word
        if symbol != word:
            yield at, at, symbol
        for to in range(at + 1, min(at + 1 + GAP, len(symbols))):
            between = " " if to == at + 1 else " .. "
            yield at, to, f"{symbol}{between}{symbols[to]}"
        if at + 2 < len(symbols):
            yield at, at + 2, " ".join(symbols[at : at + 3])


def context(text: Sequence[Sentence]) -> list[list[str]]:
    """Returns terms of each sentence that are not words, but describe the sentence and its text.

    - `~plain N`: the share of words without a class, in fifths.
    - `~words N`: the number of words without a class, at most 6.
    - `~beside a caption`: another sentence of the text describes something.
    - `~alone`: the text has no other sentence.
    - `~caption behind :`: three or more words without a class follow a colon.
    """
    shares = [sentence.plain / max(1, len(sentence.words) - 2) for sentence in text]
    describes = [
        sentence.plain >= 4 and share > 0.6 for sentence, share in zip(text, shares, strict=True)
    ]
    others = sum(describes)
    contexts = []
    for sentence, share, own in zip(text, shares, describes, strict=True):
        names = [f"~plain {min(4, int(5 * share))}", f"~words {min(sentence.plain, 6)}"]
        if others > own:
            names.append("~beside a caption")
        if len(text) == 1:
            names.append("~alone")
        if ":" in sentence.words and _plain_behind(sentence, sentence.words.index(":")) >= 3:
            names.append("~caption behind :")
        contexts.append(names)
    return contexts


def _plain_behind(sentence: Sentence, at: int) -> int:
    return sum(map(is_plain, sentence.words[at:], sentence.symbols[at:]))
