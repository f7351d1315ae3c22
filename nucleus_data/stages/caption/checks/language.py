"""The check `language`: another language than the one that is wanted.

Languages are told by py3langid, from `words` words on; fewer are told badly by anything. Quotations
are left out, and so are words with a capital inside a sentence: names of people, places and species
look like other languages. Of languages that are too near to be told apart in a sentence (`NEAR`)
each passes for the other. Most English needs no model: it has its small words.
"""

import re
from functools import cache, lru_cache
from typing import Any, ClassVar

from pydantic import Field

from nucleus_data.errors import RequestError
from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.phrases import words_in
from nucleus_data.stages.caption.checks.text import count_words, shortened, words_of

INSTALL = "pip install 'nucleus-data[caption]' (it brings py3langid)"
NEAR = (
    {"da", "nb", "nn", "no"},
    {"id", "ms", "jv"},
    {"bs", "hr", "sr", "sl"},
    {"cs", "sk"},
    {"es", "gl", "pt", "ca", "an", "oc"},
    {"af", "nl"},
    {"be", "ru", "uk"},
    {"bg", "mk"},
    {"xh", "zu"},
)
# German has capitals within sentences that are no names.
CAPITALS = frozenset(["de", "lb"])
ENGLISH = frozenset(words_in("english"))
ENGLISH_SHARE = 0.25
FEWEST_WORDS = 4  # that are no names
_ENDS = tuple(".!?:;-*\u2013\u2014")
_NO_WORD = re.compile(r"https?://\S+|\S+@\S+|\b\w*\d\w*\b")


class Language(Check):
    """Another language than `caption.language`, if that is set; from eight words on."""

    name: ClassVar[str] = "language"
    rank: ClassVar[int] = 70

    least: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="Least probability of the wanted language; py3langid's are near 0 or 1.",
    )
    words: int = Field(default=8, ge=1, description="Shorter texts pass.")

    def find(self, said: Said) -> str | None:
        """Asks py3langid, unless the text is short or plainly English."""
        if said.language is None:
            return None
        wanted = _code(said.language)
        if count_words(said.own) < self.words:
            return None
        text = said.own if said.own.isascii() else _NO_WORD.sub(" ", said.own)
        if wanted == "en" and text.isascii():
            words = words_of(said.own)
            if sum(map(ENGLISH.__contains__, words)) >= ENGLISH_SHARE * len(words):
                return None
        text = _NO_WORD.sub(" ", said.own)
        told, probability, rest = _told(text, wanted)
        if rest >= self.least:
            return None
        if wanted not in CAPITALS:
            bare = _without_names(text)
            # A text of names alone is in no language.
            if count_words(bare) < FEWEST_WORDS or _told(bare, wanted)[2] >= self.least:
                return None
        return f"it is {told} ({probability:.2f}), wanted is {wanted}: {shortened(said.prose)!r}"

    def ready(self, language: str | None) -> None:
        """Raises RequestError if py3langid is not installed, or does not know the language."""
        if language is None:
            return
        try:
            known = sorted(set(_model().labels))
        except ImportError:
            raise RequestError(
                f"caption.language={language} needs py3langid: {INSTALL}; or say"
                " caption.checks.language.action=off"
            ) from None
        if _code(language) not in known:
            raise RequestError(
                f"caption.language must be one of {', '.join(known)}, got {language!r}; or say"
                " caption.checks.language.action=off"
            )


def _without_names(text: str) -> str:
    """A text without the words that have a capital inside a sentence."""
    words = text.split()
    starts = [True, *(word.endswith(_ENDS) for word in words[:-1])]
    kept = (w for w, first in zip(words, starts, strict=True) if first or not w[0].isupper())
    return " ".join(kept)


def _code(language: str) -> str:
    """The first part of a tag such as `pt-BR`, as py3langid names it."""
    code = language.replace("_", "-").split("-")[0].casefold()
    return {"nb": "no", "nn": "no"}.get(code, code)


@lru_cache(maxsize=256)
def _told(text: str, wanted: str) -> tuple[str, float, float]:
    """The likeliest language, its probability, and that of the wanted one and its neighbours."""
    ranked = dict(_model().rank(text))
    likeliest = max(ranked, key=ranked.__getitem__)
    near = {wanted}.union(*(group for group in NEAR if wanted in group))
    return likeliest, ranked[likeliest], sum(ranked.get(code, 0.0) for code in near)


@cache
def _model() -> Any:
    """py3langid's model, with probabilities that sum to 1. Raises ImportError."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
