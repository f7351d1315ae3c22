"""The files of runs, under `runs/<run>/`; no table or set depends on them.

plan.json         configuration and config hashes
stages.jsonl      one line a stage: counts, reasons, seconds by phase
failures.jsonl    one line a failed shard, with its traceback
quick_train/      curve, checkpoints and samples
"""

import datetime
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic_core import to_json

from nucleus_data.corpus import damaged
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.told import command as told

ROOT = "runs"
PLAN, STAGES, FAILURES = "plan.json", "stages.jsonl", "failures.jsonl"
TRAINING = "quick_train"
COPIED = (".jsonl", ".png", ".json")
NEEDED = MappingProxyType({"stage": str})  # required keys of a line in `stages.jsonl`


def indented(content: Mapping[str, Any]) -> bytes:
    """Formats JSON for people like `json.dumps(content, sort_keys=True, indent=1)`, but faster."""
    ordered = json.dumps(content, sort_keys=True)
    try:
        return to_json(json.loads(ordered), indent=1, ensure_ascii=True)
    except ValueError:  # a path that is not UTF-8
        return json.dumps(content, sort_keys=True, indent=1).encode()


class RunFolder:
    """The files of one run.

    Args:
        store: The corpus's store.
        name: The run's name, which begins with its start in UTC, so that names sort by time.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self.stages: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []

    @classmethod
    def claim(cls, store: Store, command: str) -> "RunFolder":
        """Creates a folder of its own for a new run, named by the time and the command."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        name, number = f"{stamp}-{command}", 1
        owner = uuid.uuid4().hex.encode()
        while not store.create(f"{ROOT}/{name}/owner", owner):
            number += 1
            name = f"{stamp}-{command}-{number}"
        return cls(store, name)

    def path(self, file: str) -> str:
        """Returns the path, below the corpus, of a file of this run."""
        return path_of(self.name, file)

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Writes `plan.json`: the configuration, and the config hashes known so far."""
        self.store.put(self.path(PLAN), indented(plan))

    def add_stage(self, line: Mapping[str, Any]) -> None:
        """Adds a line with a stage's counts to `stages.jsonl`."""
        self.stages.append(dict(line))
        self.store.put(self.path(STAGES), _jsonl(self.stages))

    def add_failures(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Adds lines about failed shards to `failures.jsonl`."""
        self.failures += [dict(line) for line in lines]
        self.store.put(self.path(FAILURES), _jsonl(self.failures))

    def inherit(self, stages: Sequence[str]) -> list[DamagedError]:
        """Copies the newest lines about stages that this run did not run, for its report.

        Args:
            stages: Names of stages, in the order of their lines.

        Returns:
            Errors about files of earlier runs that could not be read.
        """
        have = {line["stage"] for line in self.stages}
        left_out: list[DamagedError] = []
        for run in earlier(self.store, self.name):
            try:
                lines = stage_lines(self.store, run)
            except DamagedError as error:
                left_out.append(error)
                continue
            for line in lines:
                if line["stage"] in stages and line["stage"] not in have:
                    have.add(line["stage"])
                    self.stages.append(line)
                    if line["stage"] == TRAINING:
                        left_out += self._copy_training(run)
        order = list(stages)
        self.stages.sort(
            key=lambda line: order.index(line["stage"]) if line["stage"] in order else -1
        )
        self.store.put(self.path(STAGES), _jsonl(self.stages))
        return left_out

    def _copy_training(self, run: str) -> Iterator[DamagedError]:
        """Copies an earlier run's curve and samples, not its checkpoints."""
        for name in self.store.list(path_of(run, TRAINING)):
            if name.endswith(COPIED):
                try:
                    content = damaged.read_whole(self.store, path_of(run, f"{TRAINING}/{name}"))
                except DamagedError as error:
                    yield error
                else:
                    self.store.put(self.path(f"{TRAINING}/{name}"), content)

    def newest_failed_shards(self, stage: str) -> list[int]:
        """Shards that failed when a stage was last run, before this run, ascending."""
        return newest_failed_shards(self.store, stage, earlier(self.store, self.name))


def run_names(store: Store) -> list[str]:
    """Names of runs, oldest first."""
    return store.list(ROOT)


def newest_failed_shards(store: Store, stage: str, runs: Iterable[str]) -> list[int]:
    """Returns the shards that failed in the newest run of a stage, ascending.

    Args:
        store: The corpus's store.
        stage: The stage's name.
        runs: Names of the runs to search, newest first.

    Raises:
        DamagedError: The run's list of failures is damaged.
    """
    for run in runs:
        lines = [line for line in stage_lines(store, run) if line["stage"] == stage]
        if not lines:
            continue
        if not any(line.get("failed_shards") for line in lines):
            return []
        return failed_shards(store, run, stage)
    return []


def failed_shards(store: Store, run: str, stage: str) -> list[int]:
    """Returns the shards of a stage that failed in a run, ascending.

    Raises:
        DamagedError: The run's list of failures is damaged; there is no other record of them.
    """
    name = path_of(run, FAILURES)
    lines, unreadable = read_lines(store, name, {"stage": str, "shard": int})
    if unreadable or not lines:
        problem = f"{unreadable} lines are not failures" if lines or unreadable else "it is empty"
        error = damaged.damaged(store, name, problem)
        error.advice = "Run the same command again to do what is missing: " + told(
            stage.replace("_", "-"), store.uri
        )
        raise error
    return sorted(line["shard"] for line in lines if line["stage"] == stage)


def earlier(store: Store, name: str) -> Iterable[str]:
    """Names of the runs before one, newest first."""
    return reversed([run for run in run_names(store) if run < name])


def stage_lines(store: Store, run: str) -> list[dict[str, Any]]:
    """Returns the lines of a run's `stages.jsonl`, without damaged ones; empty if none."""
    lines, _ = read_lines(store, path_of(run, STAGES), NEEDED)
    return lines


def plans(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (run, plan) for each run with a readable plan, newest first."""
    for run in reversed(run_names(store)):
        try:
            yield run, damaged.read_json(store, path_of(run, PLAN))
        except (FileNotFoundError, DamagedError):
            continue


def maker(store: Store, table: str, config_hash: str) -> tuple[str, dict[str, Any]] | None:
    """Returns the oldest run that pinned a table, which made it, with its plan; None if unknown."""
    found = None
    for run, plan in plans(store):
        tables = plan.get("tables")
        if isinstance(tables, dict) and tables.get(table) == config_hash:
            found = run, plan
    return found


def path_of(run: str, file: str = "") -> str:
    """Returns the path, below the corpus, of a run's file, or of its folder."""
    return f"{ROOT}/{run}/{file}" if file else f"{ROOT}/{run}"


def read_json(store: Store, name: str) -> dict[str, Any]:
    """Reads a JSON object; empty if there is no such file, or if it is left out as damaged.

    Raises:
        DamagedError: The file is not a JSON object.
    """
    if name in store.left_out:
        return {}
    try:
        return damaged.read_json(store, name)
    except FileNotFoundError:
        return {}


def read_lines(
    store: Store, name: str, needed: Mapping[str, type] = MappingProxyType({})
) -> tuple[list[dict[str, Any]], int]:
    """Reads JSON Lines.

    Args:
        store: The corpus's store.
        name: The file; if it does not exist, there are no lines.
        needed: Required keys of each object, with the types of their values.

    Returns:
        The objects, and the number of malformed lines (1 for a file left out as damaged).

    Raises:
        DamagedError: The file is a folder, or this user may not read it.
    """
    if name in store.left_out:
        return [], 1
    try:
        text = damaged.read_whole(store, name).decode("utf-8", "replace")
    except FileNotFoundError:
        return [], 0
    found, unreadable = [], 0
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            content = None
        if isinstance(content, dict) and all(
            isinstance(content.get(key), kind) for key, kind in needed.items()
        ):
            found.append(content)
        else:
            unreadable += 1
    return found, unreadable


def _jsonl(lines: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()
