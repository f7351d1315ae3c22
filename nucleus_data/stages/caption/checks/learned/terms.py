"""Terms of a sentence for the linear models: words, word classes and n-grams of them.

    I'm not able to see it.  ->  ^ SELF BE NOT ABLE to SEE it $.

Contractions are written out ("I'm" is two words), and words of `classes.txt` are replaced by their
class, in capitals. A text is read sentence by sentence, as one sentence in a long caption gives it
away. `^` and `$` mark a sentence's ends; the first sentence begins with `^^`, as an opening differs
from what comes later.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
GAP = 4  # the widest distance of a skip-bigram's two words
# A sentence ends at its full stop or with its line.
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s|[\"')\]*_]|$)[^.!?\n]*)*[.!?\n]*[\"')\]*_]*\s*")
_TOKEN = re.compile(r"\"\"|[a-z]+(?:'[a-z]+)?|\d+|[:?!()*#\u2014;]|--+")
STARTS = ("^^", "^")  # of the first sentence, and of others
ENDS = ("$", "$.", "$?", "$!", "$:")
_SHORT = re.compile(r"(n't|'(?:m|d|s|ve|ll|re))$")
_WHOLE = {"can't": ("can", "not"), "cannot": ("can", "not"), "won't": ("will", "not")}
_LONG = {"n't": "not", "'m": "am", "'ve": "have", "'ll": "will", "'re": "are"}


class Token(NamedTuple):
    """One token of the text: one word, or the two words of a contraction.

    Attributes:
        words: Lower case.
        symbols: The class of each word, or the word itself if it has none.
        plain: How many words have no class; those that say what is in a picture have none.
    """

    words: tuple[str, ...]
    symbols: tuple[str, ...]
    plain: int = 0


class Sentence(NamedTuple):
    """The words and symbols of a sentence, as in `Token`, between marks of its ends."""

    words: list[str]
    symbols: list[str]
    plain: int


def sentences(text: str) -> list[str]:
    """Splits a text into sentences. Every line ends a sentence."""
    return [found for each in _SENTENCE.findall(text) if (found := each.strip())]


def tokens(text: str) -> list[str]:
    """The words, numbers and marks of a text in lower case. None has a space."""
    return _TOKEN.findall(text)


@cache
def classes() -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """The classes of `classes.txt`: of whole words, and of prefixes (`describ*`), longest first."""
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
    return words, tuple(sorted(prefixes, key=lambda each: -len(each[0])))


@lru_cache(maxsize=1 << 15)
def read_token(text: str) -> Token:
    """Looks up the words of a token and their classes. All numbers are read as 0."""
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
    if found := words.get(word):
        return found
    return next((name for start, name in prefixes if word.startswith(start)), word)


def is_plain(word: str, symbol: str) -> bool:
    """Whether a word has no class; marks and numbers are no words."""
    return word == symbol and word.isalpha()


def read_sentence(text: str, first: bool) -> Sentence:
    """Tokenizes a sentence; `first` says that its text begins with it."""
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
    """The mark of a sentence's end, one of ENDS: `$`, with the character that it ends with."""
    stop = text.rstrip("\"')]*_")[-1:]
    return f"${stop}" if stop and stop in ".?!:" else "$"


def terms(sentence: Sentence) -> Iterator[tuple[int, int, str]]:
    """All terms of a sentence, each with the places of its first and last word.

    They are words, their classes, bigrams (`SELF BE`), skip-bigrams (`SELF .. ABLE`, up to GAP
    apart) and trigrams (`SELF BE NOT`) of symbols.
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
    """Terms of each sentence of a text that none of its words is: its make-up and its neighbours.

    `~plain N`: fifths of its words that have no class; `~words N`: how many have none;
    `~beside a caption`: another sentence describes something; `~alone`: there is no other;
    `~caption behind :`: three words without class or more follow a colon.
    """
    shares = [sentence.plain / max(1, len(sentence.words) - 2) for sentence in text]
    describes = [
        sentence.plain >= 4 and share > 0.6 for sentence, share in zip(text, shares, strict=True)
    ]
    others = sum(describes)
    found = []
    for sentence, share, own in zip(text, shares, describes, strict=True):
        each = [f"~plain {min(4, int(5 * share))}", f"~words {min(sentence.plain, 6)}"]
        if others > own:
            each.append("~beside a caption")
        if len(text) == 1:
            each.append("~alone")
        if ":" in sentence.words and _plain_behind(sentence, sentence.words.index(":")) >= 3:
            each.append("~caption behind :")
        found.append(each)
    return found


def _plain_behind(sentence: Sentence, at: int) -> int:
    return sum(map(is_plain, sentence.words[at:], sentence.symbols[at:]))
