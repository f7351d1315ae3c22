"""The caption sets of a corpus: which there are, what they are called, and what a name means.

| name | the captions |
|---|---|
| `source` | that records came with |
| `short` | of a variant of the recipe, with its settings as they are now |
| `short@1a2b3c4d` | of a table that is there: 8 or more digits of its config hash |
| `alttexts` | that were imported: `nucleus captions import FILE --as alttexts` |

A name is looked up when a run begins, and the run pins the table that it means. What is called
`short@HASH` among a run's pins is the table `caption.short` at that hash.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nucleus_data.corpus.again import half_copied
from nucleus_data.corpus.damaged import PUBLISHED
from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError

PREFIX = "caption."
SOURCE = "source"
AT = "@"
DIGITS = 8  # that a name has at least
HEX = set("0123456789abcdef")
# Beside the parts of an import, from before the first of them: what it is made of.
IMPORT = "_import.json"
SHOWN = 12


@dataclass(frozen=True)
class CaptionSet:
    """One set of captions.

    Attributes:
        variant: The name without its hash: of a variant, of an import, or `source`.
        config_hash: Of its table; empty for `source`, which is a column of `records`.
        plain: Whether a run pins it without its hash: a variant of the recipe, or an import.
    """

    variant: str
    config_hash: str = ""
    plain: bool = True

    @property
    def table(self) -> str:
        """The name of its table."""
        return PREFIX + self.variant

    @property
    def pin(self) -> str:
        """What a run calls its table among its pins."""
        return self.table if self.plain else f"{self.table}{AT}{self.config_hash}"

    @property
    def name(self) -> str:
        """Its name with its hash: it means this set whatever the recipe."""
        if not self.config_hash:
            return self.variant
        return f"{self.variant}{AT}{self.config_hash[:DIGITS]}"


def there(store: Store) -> Iterator[CaptionSet]:
    """All caption tables of a corpus, also those that were begun and not ended."""
    for table in store.list("tables"):
        if table.startswith(PREFIX):
            for hashed in store.list(f"tables/{table}"):
                yield CaptionSet(table.removeprefix(PREFIX), hashed, plain=False)


def folder_of(one: CaptionSet) -> str:
    """Where a set's table lies."""
    return f"tables/{one.table}/{one.config_hash}"


def is_import(store: Store, one: CaptionSet) -> bool:
    """Whether a set was imported, or is being so."""
    return store.exists(f"{folder_of(one)}/{IMPORT}")


def is_whole(store: Store, one: CaptionSet) -> bool:
    """Whether a set can be read: it is made row by row, or its import or its copy was ended."""
    if is_import(store, one):
        return store.exists(f"{folder_of(one)}/{PUBLISHED}")
    return not half_copied(store, one.table, one.config_hash)


def imports(store: Store, name: str = "") -> list[CaptionSet]:
    """Those sets that were imported; those of one name if it is given."""
    return [s for s in there(store) if name in ("", s.variant) and is_import(store, s)]


def find_set(store: Store, name: str, current: Mapping[str, str], where: str) -> CaptionSet:
    """The set that a name means.

    Args:
        store: The corpus's store.
        name: As people write it.
        current: Variant of the recipe -> config hash of its table, which need not be there yet.
        where: What names it, for messages: a setting.

    Raises:
        RequestError: It means none, or several.
    """
    if name == SOURCE:
        return CaptionSet(SOURCE)
    if AT in name:
        return _at_hash(store, name, current, where)
    mine = imports(store, name) if name else []
    if name in current:
        if mine:
            raise RequestError(
                f"{where} names {name!r}, which is a variant of the recipe and an import. Give the "
                f"variant another name, or write {mine[0].name} for the import"
            )
        return CaptionSet(name, current[name])
    whole = [one for one in mine if is_whole(store, one)]
    if len(whole) == 1:
        return CaptionSet(name, whole[0].config_hash)
    if whole:
        raise RequestError(
            f"{where} names {name!r}, of which there are several imports; say which: "
            + ", ".join(one.name for one in whole)
        )
    if mine:
        raise RequestError(f"{where} names {name!r}; {not_ended(store, mine[0])}")
    known = [f"allowed: {', '.join([SOURCE, *sorted(current)])}", *_listed(store)]
    raise RequestError(
        f"{where} names {name!r}, which is no caption variant of the recipe and no import; "
        + "; ".join(known)
    )


def find_sets(
    store: Store, names: Sequence[str], current: Mapping[str, str], where: str
) -> list[CaptionSet]:
    """The sets that names mean, each once.

    Args:
        store: The corpus's store.
        names: As people write them.
        current: Variant of the recipe -> config hash of its table.
        where: The setting that names them.

    Raises:
        RequestError: One of them means none or several, or two mean the same.
    """
    found: list[CaptionSet] = []
    for name in names:
        one = find_set(store, name, current, where)
        for other, before in zip(found, names, strict=False):
            if (one.variant, one.config_hash) == (other.variant, other.config_hash):
                raise RequestError(
                    f"{where} names {before!r} and {name!r}, which are the same captions; "
                    "give each once"
                )
        found.append(one)
    return found


def check_names(names: Sequence[str], variants: Sequence[str], where: str) -> None:
    """What can be said of names without a corpus. Raises RequestError.

    Args:
        names: As people write them.
        variants: Those of the recipe.
        where: The setting that names them.
    """
    for name in names:
        if AT in name:
            _parts(name, where)
        elif name != SOURCE and name not in variants:
            raise RequestError(
                f"{where} names {name!r}, which is no caption variant of the recipe; allowed: "
                f"{', '.join([SOURCE, *sorted(variants)])}. Imports are looked for in the corpus: "
                "give corpus=PATH"
            )


def labels(sets: Sequence[CaptionSet]) -> list[str]:
    """What sets are called among each other, by their tables alone: not by how they were named.

    A set is called by its variant, with its hash only where another of the same variant is there.
    """
    often = Counter(one.variant for one in sets)
    made = [one.config_hash for one in sets if one.config_hash]
    digits = DIGITS if len({hashed[:DIGITS] for hashed in made}) == len(made) else None
    return [
        one.variant if often[one.variant] == 1 else f"{one.variant}{AT}{one.config_hash[:digits]}"
        for one in sets
    ]


def _at_hash(store: Store, name: str, current: Mapping[str, str], where: str) -> CaptionSet:
    """The set of a name with a hash."""
    variant, digits = _parts(name, where)
    now = [current[variant]] if variant in current else []
    hashes = {*store.list(f"tables/{PREFIX}{variant}"), *now}
    found = sorted(hashed for hashed in hashes if hashed.startswith(digits))
    if len(found) == 1:
        one = CaptionSet(variant, found[0], plain=found == now)
        if not is_whole(store, one):
            raise RequestError(f"{where} names {name!r}; {not_ended(store, one)}")
        return one
    if found:
        several = ", ".join(f"{variant}{AT}{hashed}" for hashed in found)
        raise RequestError(f"{where} names {name!r}, which may be {several}; give more digits")
    known = "; ".join(_listed(store)) or "there is none yet"
    raise RequestError(f"{where} names {name!r}, and there is no such caption table; {known}")


def _parts(name: str, where: str) -> tuple[str, str]:
    """A name's variant and the digits of its hash. Raises RequestError."""
    variant, _, digits = name.partition(AT)
    if not variant.isidentifier() or len(digits) < DIGITS or {*digits} - HEX:
        raise RequestError(
            f"{where} names {name!r}; a caption table is named VARIANT@HASH, with {DIGITS} to 16 "
            "digits 0-9 and a-f of its config hash, as `nucleus captions list` shows it"
        )
    return variant, digits


def not_ended(store: Store, one: CaptionSet) -> str:
    """Why a set is not whole, and what ends what was begun."""
    if command := half_copied(store, one.table, one.config_hash):
        return (
            f"{one.name} is half copied, for captions that were asked for again: run the same "
            f"`{command} ...` again, or remove the folder {folder_of(one)}"
        )
    return (
        f"the import {one.name} was begun and not ended: run the same "
        f"`nucleus captions import ... --as {one.variant}` again"
    )


def _listed(store: Store) -> Iterator[str]:
    """What there is, for messages."""
    every = list(there(store))
    imported = [one for one in every if is_import(store, one)]
    made = [one for one in every if one not in imported]
    for kind, sets in (("imported", imported), ("made", made)):
        if sets:
            more = ", ..." if len(sets) > SHOWN else ""
            yield f"{kind}: {', '.join(one.name for one in sets[:SHOWN])}{more}"
