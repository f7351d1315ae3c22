"""`nucleus verify EXPORT`: checks that an export's files are intact and contain nothing blocked.

An export still contains samples that were taken down after it was made; each of them is reported.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from nucleus_data.corpus.blocked import read_blocked
from nucleus_data.corpus.damaged import DamagedError, read_json, read_whole
from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.errors import CorpusError
from nucleus_data.hashing import config_hash
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, Summary
from nucleus_data.stage import Stage
from nucleus_data.stages.upkeep.faults import Fault, as_faults
from nucleus_data.stages.upkeep.sets import remove_all

WHOLE, BEGUN = "export.json", "_export.json"
STEP = 1 << 22


@dataclass(frozen=True)
class ExportTask:
    """Verifies one file of an export (a task of the runner).

    Attributes:
        uri: URI of the corpus.
        storage_options: Options for fsspec, for the corpus and the export.
        out: URI of the export.
        notes: Folder for the results, relative to the corpus.
    """

    uri: str
    storage_options: Mapping[str, Any]
    out: str
    notes: str

    def run(self, number: int) -> Summary:
        """Writes the faults of a file; `number` counts the files in `export.json`."""
        store, out = (Store(uri, self.storage_options) for uri in (self.uri, self.out))
        name = f"{self.notes}/{number:06d}.json"
        if not store.exists(name):
            file = read_json(out, WHOLE)["files"][number]
            found = [fault.content() for fault in check_file(store, out, file)]
            store.create(name, json.dumps(found, sort_keys=True).encode())
        return Summary(rows=1, done=1)


def is_export(out: Store) -> bool:
    """Returns whether a folder is an export of a set, finished or not."""
    return out.exists(WHOLE) or out.exists(BEGUN)


def verify_export(run: Run, stage: Stage[Any], out: Store) -> list[Fault]:
    """Returns all faults of an export, sorted.

    Args:
        run: The run; its corpus has the block list.
        stage: Identifies the work in the run.
        out: The export.

    Raises:
        CorpusError: Some files could not be read now; repeating the command continues with them.
    """
    try:
        content = read_whole(out, WHOLE)
        count = len(read_json(out, WHOLE)["files"])
    except FileNotFoundError:
        return [Fault("export_file", WHOLE, "", "it is missing: the export was not finished")]
    except (DamagedError, KeyError, TypeError) as error:
        return [Fault("export_file", WHOLE, "", str(error))]
    store = run.corpus.store
    blocked = sorted((k, v, r) for (k, v), r in read_blocked(store).reasons.items())
    digest = hashlib.sha256(content).hexdigest()
    notes = f"verify/{config_hash({'export': out.uri, 'content': digest, 'blocked': blocked})}"
    task = ExportTask(store.uri, store.storage_options, out.uri, notes)
    items = [Item(number) for number in range(count)]
    report = run.loop(stage, task, items, count, phase="export", keep=False)
    if report.failed:
        run.keep(report)
        raise CorpusError("verify: not all files could be read; run the same command again")
    names = [f"{notes}/{name}" for name in store.list(notes)]
    faults = [fault for name in names for fault in as_faults(json.loads(read_whole(store, name)))]
    remove_all(store, names)
    return sorted(set(faults))


def check_file(store: Store, out: Store, file: Mapping[str, Any]) -> Iterator[Fault]:
    """Yields the faults of one file.

    Args:
        store: The corpus's store, with the block list.
        out: The export.
        file: The file's entry in `export.json`.
    """
    path = file["path"]
    if not file["samples"]:  # a tar without samples has no file in the export
        return
    try:
        with with_retries(lambda: out.fs.open(out.path(path), "rb")) as stream:
            digest = hashlib.sha256()
            while data := stream.read(STEP):
                digest.update(data)
            if digest.hexdigest() != file["sha256"]:
                yield Fault("export_file", path, "", "its SHA-256 differs from that in export.json")
            stream.seek(0)
            ids = list(_ids(stream, path))
    except FileNotFoundError:
        yield Fault("export_file", path, "", "it is missing")
        return
    except Exception as error:  # Arrow and tarfile raise various exceptions
        yield Fault("export_file", path, "", f"it cannot be read: {error}")
        return
    blocked = read_blocked(store)
    for ident in ids:
        if refusal := blocked.of_id(ident):
            yield Fault("export_blocked", path, ident, refusal.detail)


def _ids(stream: Any, path: str) -> Iterator[str]:
    """Yields the ids of the samples in a file."""
    if path.endswith(".parquet"):
        yield from pq.read_table(stream, columns=["id"], use_threads=False)["id"].to_pylist()
    elif path.endswith(".json"):
        yield from (name.partition(".")[0] for name in json.load(stream)["files"])
    else:
        with tarfile.open(fileobj=stream) as tar:
            found = {member.name.partition(".")[0]: None for member in tar}
        yield from found
