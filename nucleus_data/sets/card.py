"""The dataset card of a set or an export: a README.md for people, hubs and `datasets`.

Its YAML header has one configuration per resolution, with the types of all columns, so that
`datasets.load_dataset(FOLDER)` works. The text describes the content, its origin, how it was
selected, and its limits. Text from elsewhere (rules, names of sources, licences) is escaped, so
that it can't be markup.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import yaml

from nucleus_data.printed import visible
from nucleus_data.sets.facts import Facts
from nucleus_data.sets.features import card_features

README = "README.md"
LONGEST = 1000  # characters of a text from elsewhere; longer ones are cut
MARKUP = re.compile(r"([!-/:-@\[-`{-~])")
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGER = ((10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"))
LIMITS = (
    "Licences are as stated by the sources; they have not been checked.",
    "Captions written by a model may be wrong, and pictures and captions have the biases of their "
    "sources and models.",
    "There may be pictures of people. To have one removed, ask whoever shares this set: `nucleus "
    "takedown` removes it from a corpus and its sets; exports must be made again.",
)


@dataclass(frozen=True)
class Bucket:
    """The pictures of one aspect bucket at one resolution.

    Attributes:
        resolution: Side of the square bucket, in pixels.
        aspect: The aspect bucket, for example `4x3`.
        width: Width of its pictures, in pixels.
        height: Height of its pictures, in pixels.
        samples: Number of samples.
        bytes: Total size of its files.
    """

    resolution: int
    aspect: str
    width: int
    height: int
    samples: int
    bytes: int


@dataclass(frozen=True)
class Captions:
    """A caption edition, as described on a card.

    Attributes:
        name: The edition's name.
        hash: Its config hash.
        tables: Its caption tables, for example `short@1a2b3c4d`.
        without: Number of samples without a caption.
        mix: Source of a caption -> number of captions.
        joined: Whether the captions are stored in the samples, as in an export; in a set they are
            in separate files.
    """

    name: str
    hash: str
    tables: Sequence[str]
    without: int
    mix: Mapping[str, int]
    joined: bool = False


@dataclass(frozen=True)
class Shown:
    """The content of a card.

    Attributes:
        name: The set's name.
        hash: The set's config hash.
        kind: Format of the files, `webdataset` or `parquet`.
        buckets: Its buckets, in the manifest's order.
        fields: Columns that `datasets` finds in the files, in their order.
        captions: All editions of a set, or the one edition of an export.
        facts: Where it comes from, and how it was selected.
    """

    name: str
    hash: str
    kind: str
    buckets: Sequence[Bucket]
    fields: Sequence[pa.Field]
    captions: Sequence[Captions] = ()
    facts: Facts = field(default_factory=Facts)

    @property
    def suffix(self) -> str:
        """Suffix of the files, without the dot."""
        return "parquet" if self.kind == "parquet" else "tar"

    @property
    def resolutions(self) -> list[int]:
        """Its resolutions in pixels, largest first."""
        return sorted({bucket.resolution for bucket in self.buckets}, reverse=True)

    def samples(self, resolution: int) -> int:
        """Returns the number of samples at a resolution."""
        return sum(b.samples for b in self.buckets if b.resolution == resolution)


def readme(shown: Shown) -> str:
    """Renders the card: a YAML header between two lines of dashes, then Markdown."""
    head = yaml.safe_dump(_head(shown), sort_keys=False, allow_unicode=True, width=10_000)
    parts = (_title, _content, _origin, _choice, _captions, _limits)
    text = "\n".join(line for part in parts for line in part(shown))
    return f"---\n{head}---\n\n{text}"


def plain(text: str) -> str:
    """Escapes a text from elsewhere for Markdown, without markup, links, or invisible characters.

    Line ends become visible too, and long texts are cut.
    """
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return MARKUP.sub(r"\\\1", visible(cut))


def _head(shown: Shown) -> dict[str, Any]:
    """Returns the YAML header; the configuration of the largest resolution is the default."""
    largest = max((shown.samples(r) for r in shown.resolutions), default=0)
    size = next((name for most, name in (*SIZES, *LARGER) if largest < most), "n>1B")
    configs, infos = [], []
    for number, resolution in enumerate(shown.resolutions):
        files = [{"split": "train", "path": f"{resolution}/*/*.{shown.suffix}"}]
        default = {"default": True} if number == 0 else {}
        configs.append({"config_name": str(resolution), **default, "data_files": files})
        infos.append({"config_name": str(resolution), "features": card_features(shown.fields)})
    return {
        "pretty_name": shown.name,
        "license": "other",
        "task_categories": ["text-to-image"],
        "size_categories": [size],
        "tags": ["image", "text", shown.kind, "nucleus-data"],
        "configs": configs,
        "dataset_info": infos,
    }


def _title(shown: Shown) -> Iterator[str]:
    """Yields the lines of the title, and how to load the data."""
    joined = any(one.joined for one in shown.captions)
    what = "Pictures and captions" if joined else "Training set"
    yield f"# {plain(shown.name)}"
    yield ""
    yield f"{what} made by Nucleus Data; set `{plain(shown.hash)}`."
    yield ""
    yield "```python"
    yield "from datasets import load_dataset"
    yield ""
    yield 'data = load_dataset("FOLDER", split="train", streaming=True)'
    yield "```"
    yield ""
    if len(shown.resolutions) > 1:
        others = ", ".join(f'"{resolution}"' for resolution in shown.resolutions[1:])
        yield f"That is resolution {shown.resolutions[0]}; others by name: {others}."
        yield ""


def _content(shown: Shown) -> Iterator[str]:
    """Yields the lines about the buckets, and what was left out of them."""
    yield "## What is in it"
    yield ""
    yield "| resolution | aspect | pixels | samples | bytes |"
    yield "|---|---|---|---|---|"
    for b in sorted(shown.buckets, key=lambda b: (b.resolution, b.aspect)):
        size = f"{b.width} x {b.height}"
        yield f"| {b.resolution} | {plain(b.aspect)} | {size} | {b.samples:,} | {b.bytes:,} |"
    yield ""
    yield "Pictures are upright sRGB, cropped and resized for their buckets; none is enlarged. A"
    yield "picture is in each resolution that its crop covers, by the same id in all of them."
    yield ""
    if shown.facts.left_out:
        yield "| resolution | left out, as | records |"
        yield "|---|---|---|"
        for resolution, reasons in shown.facts.left_out.items():
            for reason, count in sorted(reasons.items()):
                yield f"| {plain(resolution)} | {plain(reason)} | {count:,} |"
        yield ""


def _origin(shown: Shown) -> Iterator[str]:
    """Yields the lines about sources and licences."""
    facts = shown.facts
    for title, counts, none in (
        ("source", facts.sources, "(not known)"),
        ("licence, as stated upstream", facts.licences, "(none stated)"),
    ):
        if not counts:
            continue
        if title == "source":
            yield "## Where it comes from"
            yield ""
        yield f"| {title} | samples |"
        yield "|---|---|"
        for value, count in counts.items():
            yield f"| {plain(value) if value else none} | {count:,} |"
        yield ""


def _choice(shown: Shown) -> Iterator[str]:
    """Yields the lines about the selection: states, duplicates, rules."""
    facts = shown.facts
    if not (facts.states or facts.rules):
        return
    yield "## How it was chosen"
    yield ""
    if facts.states:
        sums = " + ".join(f"{count:,} {plain(state)}" for state, count in facts.states.items())
        yield f"{sum(facts.states.values()):,} records = {sums} (selection {facts.selection})."
        yield ""
    if facts.duplicates is not None:
        kept = "the best one is kept" if facts.duplicates else "none was looked for"
        yield f"Of duplicates {kept}."
        yield ""
    if facts.rules:
        yield "| filter | action | where | reason | records |"
        yield "|---|---|---|---|---|"
        for rule in facts.rules:
            count = "" if rule.records is None else f"{rule.records:,}"
            cells = (rule.name, rule.action, rule.where, rule.reason)
            yield f"| {' | '.join(map(plain, cells))} | {count} |"
        yield ""


def _captions(shown: Shown) -> Iterator[str]:
    """Yields the lines about captions: editions, their sources, results of the checks."""
    if not shown.captions:
        return
    yield "## Captions"
    yield ""
    if not any(one.joined for one in shown.captions):
        yield "The tars hold pictures alone. Captions lie beside them, an edition a folder:"
        yield "`nucleus export SET --as webdataset --captions EDITION` joins them, or"
        yield "`nucleus_data.sets.join_captions` while the tars are read."
        yield ""
    for one in shown.captions:
        tables = ", ".join(map(plain, one.tables))
        yield f"Edition {plain(one.name)} (`{plain(one.hash)}`), of {tables};"
        yield f"{one.without:,} samples have no caption."
        yield ""
        if one.mix:
            total = sum(one.mix.values())
            yield "| captions from | captions | share |"
            yield "|---|---|---|"
            for source, count in one.mix.items():
                yield f"| {plain(source)} | {count:,} | {count / total:.1%} |"
            yield ""
    if shown.facts.checked:
        yield "| checked captions | given | asked again | without | found by check |"
        yield "|---|---|---|---|---|"
        for each in shown.facts.checked:
            asked = max(1, each.given + each.without)
            found = ", ".join(
                f"{plain(check)} {count / asked:.2%}" for check, count in each.found.items()
            )
            counts = f"{each.given:,} | {each.again:,} | {each.without:,}"
            yield f"| {plain(each.captions)} | {counts} | {found} |"
        yield ""


def _limits(shown: Shown) -> Iterator[str]:
    """Yields the lines about the limits of the set."""
    yield "## Limits"
    yield ""
    for limit in LIMITS:
        yield f"- {limit}"
    settings = shown.facts.settings
    if settings:
        values = ", ".join(f"{key} {value}" for key, value in sorted(settings.items()))
        yield f"- How pictures were made: {plain(values)}."
    yield ""
