"""Writes metadata of an export for its readers: card, Croissant, wids lists, Energon files."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.sets.card import README, Bucket, Captions, Shown, readme
from nucleus_data.sets.croissant import CROISSANT, croissant
from nucleus_data.sets.facts import most, read_facts
from nucleus_data.views.export_files import Joining, parquet_schema, sample_schema

CARDED = ("webdataset", "parquet")  # exports that have a card
ENERGON = "megatron.energon"
PREPARE = "energon prepare --non-interactive --split-parts 'train:.*' {} {}"
Notes = Sequence[Mapping[str, Any]]


def write_readers(
    joining: Joining, kind: str, out: Store, notes: Notes, say: Callable[[str], None]
) -> None:
    """Writes the card, Croissant metadata and wids lists; or, for Energon, its files.

    Args:
        joining: The exported set, edition and columns.
        kind: One of `export_files.KINDS`.
        out: The store of the export.
        notes: The content of each file, in the manifest's order.
        say: Is told of what could not be written.
    """
    if kind == "energon":
        _write_energon(joining, out, notes)
    if kind not in CARDED:
        return
    shown = _shown(joining, kind, notes)
    out.put(README, readme(shown).encode())
    files = {note["path"]: note["sha256"] for note in notes if note["samples"]}
    try:
        out.put(CROISSANT, croissant(shown, files))
    except RequestError as error:
        say(str(error))
    if kind == "webdataset":
        for name, content in _wids(joining, notes):
            out.put(name, json.dumps(content, indent=1).encode())


def _shown(joining: Joining, kind: str, notes: Notes) -> Shown:
    """Returns the facts on the export's card."""
    sources: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    counted: Counter[tuple[int, str, int, int]] = Counter()
    size: Counter[tuple[int, str, int, int]] = Counter()
    for note in notes:
        bucket = (note["resolution"], note["aspect"], note["width"], note["height"])
        counted[bucket] += note["samples"]
        size[bucket] += note["bytes"]
        sources.update(note["sources"])
        licences.update(note["licences"])
    facts = replace(read_facts(joining.folder), sources=most(sources), licences=most(licences))
    edition = joining.edition
    without = sum(note["without"] for note in notes)
    captions = Captions(
        edition.name, edition.hash, edition.tables, without, edition.mix, joined=True
    )
    schema = parquet_schema(joining) if kind == "parquet" else sample_schema(joining)
    return Shown(
        joining.name,
        joining.hash,
        kind,
        [Bucket(*bucket, count, size[bucket]) for bucket, count in sorted(counted.items())],
        list(schema),
        [captions],
        facts,
    )


def _wids(joining: Joining, notes: Notes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Writes wids' lists of tars, one per resolution, within which keys are unique."""
    for resolution in sorted({note["resolution"] for note in notes}):
        shards = [
            {"url": note["path"], "nsamples": note["samples"], "filesize": note["bytes"]}
            for note in notes
            if note["resolution"] == resolution and note["samples"]
        ]
        name = f"{joining.name}-{resolution}"
        yield f"wids-{resolution}.json", {"wids_version": 1, "name": name, "shardlist": shards}


def _write_energon(joining: Joining, out: Store, notes: Notes) -> None:
    """Writes Energon's data sets of each resolution (pictures, captions), and their join.

    Energon writes indexes beside the tars that it reads. So that it writes nothing into the set,
    the set's tars are linked into the export, if both are local.
    """
    linked = out.local and joining.folder.store.local
    commands = ["#!/bin/sh", "# Once, before Energon reads it.", "set -e", 'cd "$(dirname "$0")"']
    for resolution in sorted({note["resolution"] for note in notes}):
        mine = [n for n in notes if n["resolution"] == resolution and n["samples"]]
        pictures = f"{resolution}/pictures" if linked else joining.folder.url(str(resolution))
        for note in mine if linked else ():
            path = note["path"].replace("/captions/", "/", 1)
            link = Path(out.path(note["path"].replace("/captions/", "/pictures/", 1)))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(Path(joining.folder.url(path)).absolute())
        join = [{"path": "captions"}, {"path": "pictures" if linked else pictures}]
        joined = {
            "__module__": ENERGON,
            "__class__": "MetadatasetV2",
            "splits": {
                "train": {
                    "join": join,
                    "joiner": {"__module__": ENERGON, "__class__": "CaptioningSample"},
                }
            },
        }
        content = yaml.safe_dump(joined, sort_keys=False)
        out.put(f"{resolution}/metadataset.yaml", content.encode())
        # The captions fill both fields; then the picture takes the place of its own.
        captions = _typed("CaptioningSample", {"image": "txt", "caption": "txt"})
        commands.append(PREPARE.format(captions, f"{resolution}/captions"))
        images = _typed("ImageSample", {"image": joining.suffix})
        commands.append(PREPARE.format(images, shlex.quote(pictures)))
        commands.append(f"energon prepare --non-interactive {resolution}/metadataset.yaml")
    out.put("prepare.sh", "".join(f"{line}\n" for line in commands).encode())


def _typed(sample: str, fields: Mapping[str, str]) -> str:
    """Returns options of `energon prepare` that describe a data set's samples."""
    return f"--sample-type {sample} --field-map {shlex.quote(json.dumps(fields))}"
