"""Terms of a sentence for the linear models: words, their classes, and pairs and triples of them.

    I'm not able to see it.  ->  ^ SELF BE NOT ABLE to SEE it $.

Short forms are written out, words of `classes.txt` are replaced by their class in capitals. A text
is read sentence by sentence, as one sentence in a long caption gives it away; the first sentence
begins with `^^`, as an opening differs from what is said later.
"""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

# The words of a sentence, each with its class, or with itself if it has none.
Symbols = list[tuple[str, str]]

FOLDER = Path(__file__).parent
GAP = 4  # the widest distance, in words, of the two of a pair with others between them
# A sentence ends at its stop or with its line.
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s|[\"')\]*_]|$)[^.!?\n]*)*[.!?\n]*[\"')\]*_]*\s*")
_TOKEN = re.compile(r"\"\"|[a-z]+(?:'[a-z]+)?|\d+|[:?!()*#\u2014;]|--+")
_SHORT = re.compile(r"(n't|'(?:m|d|s|ve|ll|re))$")
_WHOLE = {"can't": ("can", "not"), "cannot": ("can", "not"), "won't": ("will", "not")}
_LONG = {"n't": "not", "'m": "am", "'ve": "have", "'ll": "will", "'re": "are"}


def sentences(text: str) -> list[str]:
    """The sentences of a text, without what quotes; lines are ones of their own."""
    return [found for each in _SENTENCE.findall(text) if (found := each.strip())]


@cache
def classes() -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Class of each word, and of each beginning of words (`describ*`), of `classes.txt`."""
    words, beginnings, name = dict[str, str](), list[tuple[str, str]](), ""
    for line in (FOLDER / "classes.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]").upper()
        elif not line.startswith("#"):
            for word in line.split():
                if word.endswith("*"):
                    beginnings.append((word[:-1], name))
                else:
                    words[word] = name
    return words, tuple(sorted(beginnings, key=lambda each: -len(each[0])))


@lru_cache(maxsize=1 << 15)
def read(token: str) -> tuple[tuple[str, str], ...]:
    """The words of a token, as short forms have two, each with its class or itself."""
    if token[0].isdigit():
        return (("0", "0"),)
    if parts := _WHOLE.get(token):
        return tuple([(part, _class(part)) for part in parts])
    if short := _SHORT.search(token):
        end = _LONG.get(short[0], short[0])
        start = token[: short.start()]
        return tuple([(part, _class(part)) for part in (start, end) if part])
    return ((token, _class(token)),)


def _class(word: str) -> str:
    words, beginnings = classes()
    if found := words.get(word):
        return found
    return next((name for start, name in beginnings if word.startswith(start)), word)


def symbols(sentence: str, first: bool) -> Symbols:
    """Words of a sentence with their classes, between marks of its beginning and its end."""
    found = [("^^", "^^") if first else ("^", "^")]
    for token in _TOKEN.findall(sentence.lower()):
        found += read(token)
    stop = sentence.rstrip("\"')]*_")[-1:]
    end = f"${stop}" if stop and stop in ".?!:" else "$"
    found.append((end, end))
    return found


def terms(seen: Symbols) -> Iterator[tuple[int, int, str]]:
    """Terms of a sentence's symbols, each with the places of its first and last word."""
    whole = [symbol for _, symbol in seen]
    for at, (word, symbol) in enumerate(seen):
        yield at, at, word
        if symbol != word:
            yield at, at, symbol
        for to in range(at + 1, min(at + 1 + GAP, len(whole))):
            between = " " if to == at + 1 else " .. "
            yield at, to, f"{symbol}{between}{whole[to]}"
        if at + 2 < len(whole):
            yield at, at + 2, f"{symbol} {whole[at + 1]} {whole[at + 2]}"


def plain(seen: Symbols) -> int:
    """How many words of a sentence have no class: those that say what is in a picture do not."""
    return sum([word == symbol and word.isalpha() for word, symbol in seen])


def around(whole: list[Symbols]) -> list[list[str]]:
    """Terms of each sentence that no word of it says: its share of plain words, its neighbours."""
    counts = [plain(seen) for seen in whole]
    shares = [count / max(1, len(seen) - 2) for count, seen in zip(counts, whole, strict=True)]
    content = [count >= 4 and share > 0.6 for count, share in zip(counts, shares, strict=True)]
    found = []
    for at, seen in enumerate(whole):
        each = [f"~plain {min(4, int(5 * shares[at]))}", f"~words {min(counts[at], 6)}"]
        if sum(content) - content[at] > 0:
            each.append("~beside a caption")
        if len(whole) == 1:
            each.append("~alone")
        colon = next((to for to, (word, _) in enumerate(seen) if word == ":"), None)
        if colon is not None and plain(seen[colon:]) >= 3:
            each.append("~caption behind :")
        found.append(each)
    return found
