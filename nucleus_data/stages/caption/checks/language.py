"""The check `language`: the answer is in another language than the expected one.

py3langid identifies the language of texts of `words` words or more; no method is reliable on
shorter ones. Quotations are ignored, and so are capitalized words inside a sentence, since names of
people, places and species look like other languages. Languages too similar to be told apart in one
sentence (`NEAR`) pass for each other. Most English is recognised by its function words, without the
model.
"""

import re
from functools import cache, lru_cache
from typing import Any, ClassVar

from pydantic import Field

from nucleus_data.errors import RequestError
from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.phrases import words_in
from nucleus_data.stages.caption.checks.text import count_words, shortened, words_of

INSTALL = "pip install 'nucleus-data[caption]'"
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
# In these languages, capitalized words within a sentence need not be names.
CAPITALS = frozenset(["de", "lb"])
ENGLISH = frozenset(words_in("english"))
ENGLISH_SHARE = 0.25
FEWEST_WORDS = 4  # besides names
_ENDS = tuple(".!?:;-*\u2013\u2014")
_NO_WORD = re.compile(r"https?://\S+|(?<!\S)\S+@\S+|\b\w*\d\w*\b")


class Language(Check):
    """A language other than `caption.language` (if set), in answers of eight words or more."""

    name: ClassVar[str] = "language"
    rank: ClassVar[int] = 70

    least: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="A text fails if the probability of the expected language is below this;"
        " py3langid's are near 0 or 1.",
    )
    words: int = Field(default=8, ge=1, description="Texts with fewer words pass.")

    def find(self, said: Said) -> str | None:
        """Identifies the language with py3langid, unless the text is short or plainly English."""
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
        likeliest, probability, wanted_probability = _identified(text, wanted)
        if wanted_probability >= self.least:
            return None
        if wanted not in CAPITALS:
            bare = _without_names(text)
            # A text that consists of names only has no language.
            if count_words(bare) < FEWEST_WORDS or _identified(bare, wanted)[2] >= self.least:
                return None
        return (
            f"it is {likeliest} ({probability:.2f}), wanted is {wanted}: {shortened(said.prose)!r}"
        )

    def ready(self, language: str | None) -> None:
        """Raises RequestError if py3langid is not installed, or does not know the language."""
        if language is None:
            return
        try:
            known = sorted(set(_model().labels))
        except ImportError:
            raise RequestError(
                f"caption.language={language} needs py3langid: {INSTALL}; or turn the check off"
                " with caption.checks.language.action=off"
            ) from None
        if _code(language) not in known:
            raise RequestError(
                f"caption.language must be one of {', '.join(known)}, got {language!r}; or"
                " turn the check off with caption.checks.language.action=off"
            )


def _without_names(text: str) -> str:
    """Removes capitalized words that do not begin a sentence."""
    kept, first = list[str](), True
    for word in text.split():
        if first or not word[0].isupper():
            kept.append(word)
        first = word.endswith(_ENDS)
    return " ".join(kept)


def _code(language: str) -> str:
    """Returns the language of a tag such as `pt-BR`, as py3langid names it."""
    code = language.replace("_", "-").split("-")[0].casefold()
    return {"nb": "no", "nn": "no"}.get(code, code)


@lru_cache(maxsize=256)
def _identified(text: str, wanted: str) -> tuple[str, float, float]:
    """Returns the likeliest language, its probability, and that of the expected one and `NEAR`."""
    ranked = dict(_model().rank(text))
    likeliest = max(ranked, key=ranked.__getitem__)
    near = {wanted}.union(*(group for group in NEAR if wanted in group))
    return likeliest, ranked[likeliest], sum(ranked.get(code, 0.0) for code in near)


@cache
def _model() -> Any:
    """Loads py3langid's model, with normalized probabilities. Raises ImportError."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
