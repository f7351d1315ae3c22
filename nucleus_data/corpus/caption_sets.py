"""Names of caption sets, and the tables that they refer to.

| name | captions |
|---|---|
| `source` | the upstream captions of the records |
| `short` | a variant of the recipe, with its current settings |
| `short@1a2b3c4d` | an existing table, by 8 or more digits of its config hash |
| `alttexts` | an import: `nucleus captions import FILE --as alttexts` |

A name is resolved when a run begins, and the run pins the table. Among a run's pins, `short@HASH`
is the table `caption.short` with that hash.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nucleus_data.corpus.damaged import PUBLISHED
from nucleus_data.corpus.renewed import half_copied
from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError

PREFIX = "caption."
SOURCE = "source"
AT = "@"
DIGITS = 8  # minimum number of digits of a hash in a name
HEX = set("0123456789abcdef")
# File beside the parts of an import that describes its source; written before the first part.
IMPORT = "_import.json"
SHOWN = 12  # maximum number of sets listed in a message


@dataclass(frozen=True)
class CaptionSet:
    """One set of captions.

    Attributes:
        variant: Name of the variant or import, without a hash; or `source`.
        config_hash: Config hash of its table; empty for `source`, a column of `records`.
        plain: Whether a run pins it under its name without the hash, as for a variant of the recipe
            or an import.
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
        """The name of its table among a run's pins."""
        return self.table if self.plain else f"{self.table}{AT}{self.config_hash}"

    @property
    def name(self) -> str:
        """Its name with its hash, which refers to this set whatever the recipe."""
        if not self.config_hash:
            return self.variant
        return f"{self.variant}{AT}{self.config_hash[:DIGITS]}"


def there(store: Store) -> Iterator[CaptionSet]:
    """Yields all caption tables of a corpus, including unfinished ones."""
    for table in store.list("tables"):
        if table.startswith(PREFIX):
            for hashed in store.list(f"tables/{table}"):
                yield CaptionSet(table.removeprefix(PREFIX), hashed, plain=False)


def folder_of(one: CaptionSet) -> str:
    """Returns the folder of a set's table, below the corpus."""
    return f"tables/{one.table}/{one.config_hash}"


def is_import(store: Store, one: CaptionSet) -> bool:
    """Whether a set is an import, finished or not."""
    return store.exists(f"{folder_of(one)}/{IMPORT}")


def is_whole(store: Store, one: CaptionSet) -> bool:
    """Whether a set can be read: not if it is an unfinished import, or half copied."""
    if is_import(store, one):
        return store.exists(f"{folder_of(one)}/{PUBLISHED}")
    return not half_copied(store, one.table, one.config_hash)


def imports(store: Store, name: str = "") -> list[CaptionSet]:
    """Returns the imports of a corpus, finished or not; only those of one name if it is given."""
    return [s for s in there(store) if name in ("", s.variant) and is_import(store, s)]


def find_set(store: Store, name: str, current: Mapping[str, str], where: str) -> CaptionSet:
    """Resolves a name to a caption set.

    Args:
        store: The corpus's store.
        name: The name, in one of the forms listed in the module's docstring.
        current: Variant of the recipe -> config hash of its table, which may not exist yet.
        where: The setting or option with the name, for messages.

    Raises:
        RequestError: The name refers to no set, to several, or to an unfinished one.
    """
    if name == SOURCE:
        return CaptionSet(SOURCE)
    if AT in name:
        return _at_hash(store, name, current, where)
    imported = imports(store, name) if name else []
    if name in current:
        if imported:
            raise RequestError(
                f"{where} names {name!r}, which is both a variant of the recipe and an import. "
                f"Rename the variant, or write {imported[0].name} for the import"
            )
        return CaptionSet(name, current[name])
    finished = [one for one in imported if is_whole(store, one)]
    if len(finished) == 1:
        return CaptionSet(name, finished[0].config_hash)
    if finished:
        raise RequestError(
            f"{where} names {name!r}, which matches several imports; choose one: "
            + ", ".join(one.name for one in finished)
        )
    if imported:
        raise RequestError(f"{where} names {name!r}, but {not_ended(store, imported[0])}")
    known = [f"allowed: {', '.join([SOURCE, *sorted(current)])}", *_listed(store)]
    raise RequestError(
        f"{where} names {name!r}, which is neither a caption variant of the recipe nor an import; "
        + "; ".join(known)
    )


def find_sets(
    store: Store, names: Sequence[str], current: Mapping[str, str], where: str
) -> list[CaptionSet]:
    """Resolves names to caption sets.

    Args:
        store: The corpus's store.
        names: The names, as for `find_set`.
        current: Variant of the recipe -> config hash of its table.
        where: The setting or option with the names, for messages.

    Raises:
        RequestError: As `find_set` does, or two names refer to the same set.
    """
    found: list[CaptionSet] = []
    for name in names:
        one = find_set(store, name, current, where)
        for other, before in zip(found, names, strict=False):
            if (one.variant, one.config_hash) == (other.variant, other.config_hash):
                raise RequestError(
                    f"{where} names {before!r} and {name!r}, which are the same captions; "
                    "remove one"
                )
        found.append(one)
    return found


def check_names(names: Sequence[str], variants: Sequence[str], where: str) -> None:
    """Checks names as far as that is possible without a corpus.

    Args:
        names: The names, as for `find_set`.
        variants: Names of the recipe's variants.
        where: The setting or option with the names, for messages.

    Raises:
        RequestError: A name is malformed, or can only be an import.
    """
    for name in names:
        if AT in name:
            _parts(name, where)
        elif name != SOURCE and name not in variants:
            raise RequestError(
                f"{where} names {name!r}, which is not a caption variant of the recipe; allowed: "
                f"{', '.join([SOURCE, *sorted(variants)])}. For imports, give corpus=PATH as well"
            )


def labels(sets: Sequence[CaptionSet]) -> list[str]:
    """Returns short unique labels for sets, which do not depend on how a user named them.

    A label is the variant, with a hash only if several of the sets are of the same variant.
    """
    often = Counter(one.variant for one in sets)
    made = [one.config_hash for one in sets if one.config_hash]
    digits = DIGITS if len({hashed[:DIGITS] for hashed in made}) == len(made) else None
    return [
        one.variant if often[one.variant] == 1 else f"{one.variant}{AT}{one.config_hash[:digits]}"
        for one in sets
    ]


def _at_hash(store: Store, name: str, current: Mapping[str, str], where: str) -> CaptionSet:
    """Resolves a name with a hash. Raises RequestError."""
    variant, digits = _parts(name, where)
    now = [current[variant]] if variant in current else []
    hashes = {*store.list(f"tables/{PREFIX}{variant}"), *now}
    found = sorted(hashed for hashed in hashes if hashed.startswith(digits))
    if len(found) == 1:
        one = CaptionSet(variant, found[0], plain=found == now)
        if not is_whole(store, one):
            raise RequestError(f"{where} names {name!r}, but {not_ended(store, one)}")
        return one
    if found:
        several = ", ".join(f"{variant}{AT}{hashed}" for hashed in found)
        raise RequestError(f"{where} names {name!r}, which matches {several}; give more digits")
    known = "; ".join(_listed(store)) or "there are none yet"
    raise RequestError(f"{where} names {name!r}, but there is no such caption table; {known}")


def _parts(name: str, where: str) -> tuple[str, str]:
    """Splits a name into variant and digits of its hash. Raises RequestError if malformed."""
    variant, _, digits = name.partition(AT)
    if not variant.isidentifier() or len(digits) < DIGITS or {*digits} - HEX:
        raise RequestError(
            f"{where} names {name!r}; a caption table is named VARIANT@HASH, with {DIGITS} to 16 "
            "hex digits of its config hash, as `nucleus captions list` shows it"
        )
    return variant, digits


def not_ended(store: Store, one: CaptionSet) -> str:
    """Returns why a set is unfinished, and the command that finishes it."""
    if command := half_copied(store, one.table, one.config_hash):
        return (
            f"{one.name} is half copied, as captions were being generated again: run the same "
            f"`{command} ...` again, or remove the folder {folder_of(one)}"
        )
    return (
        f"the import {one.name} is not finished: run the same "
        f"`nucleus captions import ... --as {one.variant}` again"
    )


def _listed(store: Store) -> Iterator[str]:
    """Yields lists of the existing imports and variants, for messages."""
    every = list(there(store))
    imported = [one for one in every if is_import(store, one)]
    made = [one for one in every if one not in imported]
    for kind, sets in (("imported", imported), ("made", made)):
        if sets:
            more = ", ..." if len(sets) > SHOWN else ""
            yield f"{kind}: {', '.join(one.name for one in sets[:SHOWN])}{more}"
