"""What runs leave under `runs/<run>/`: nothing else in a corpus depends on it.

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
NEEDED = MappingProxyType({"stage": str})  # of a line about a stage


def indented(content: Mapping[str, Any]) -> bytes:
    """JSON for people, keys in order: as `json.dumps` has it, which takes ten times as long."""
    ordered = json.dumps(content, sort_keys=True)
    try:
        return to_json(json.loads(ordered), indent=1, ensure_ascii=True)
    except ValueError:  # a path that is not UTF-8
        return json.dumps(content, sort_keys=True, indent=1).encode()


class RunFolder:
    """The files of one run, under `runs/<run>/`.

    Args:
        store: The corpus's store.
        name: The run; it begins with its start in UTC, so that names sort by time.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self.stages: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []

    @classmethod
    def claim(cls, store: Store, command: str) -> "RunFolder":
        """Makes a folder that no other run has, named by the time and the command."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        name, number = f"{stamp}-{command}", 1
        owner = uuid.uuid4().hex.encode()
        while not store.create(f"{ROOT}/{name}/owner", owner):
            number += 1
            name = f"{stamp}-{command}-{number}"
        return cls(store, name)

    def path(self, file: str) -> str:
        """Path below the corpus of a file of this run."""
        return path_of(self.name, file)

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Pins what is known of the run so far."""
        self.store.put(self.path(PLAN), indented(plan))

    def add_stage(self, line: Mapping[str, Any]) -> None:
        """Notes a stage's counts."""
        self.stages.append(dict(line))
        self.store.put(self.path(STAGES), _jsonl(self.stages))

    def add_failures(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Notes failed shards."""
        self.failures += [dict(line) for line in lines]
        self.store.put(self.path(FAILURES), _jsonl(self.failures))

    def inherit(self, stages: Sequence[str]) -> list[DamagedError]:
        """Takes over, for the report, the newest earlier lines about stages not in this run.

        Args:
            stages: Names of stages, in the order in which their lines are put.

        Returns:
            The earlier runs' files that could not be read; they are left out.
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
    """Shards that failed in the first of some runs that had a stage, ascending.

    Args:
        store: The corpus's store.
        stage: The stage's name.
        runs: Names of runs, newest first.
    """
    for run in runs:
        mine = [line for line in stage_lines(store, run) if line["stage"] == stage]
        if not mine:
            continue
        if not any(line.get("failed_shards") for line in mine):
            return []
        return failed_shards(store, run, stage)
    return []


def failed_shards(store: Store, run: str, stage: str) -> list[int]:
    """Shards of a stage that failed in a run, ascending.

    Raises:
        DamagedError: The list of them is damaged: nobody else knows which they are.
    """
    name = path_of(run, FAILURES)
    lines, unreadable = read_lines(store, name, {"stage": str, "shard": int})
    if unreadable or not lines:
        problem = f"{unreadable} of its lines are no failures" if lines or unreadable else "no line"
        error = damaged.damaged(store, name, problem)
        error.advice = "Run the same again, which does what is missing: " + told(
            stage.replace("_", "-"), store.uri
        )
        raise error
    return sorted(line["shard"] for line in lines if line["stage"] == stage)


def earlier(store: Store, name: str) -> Iterable[str]:
    """Names of the runs before one, newest first."""
    return reversed([run for run in run_names(store) if run < name])


def stage_lines(store: Store, run: str) -> list[dict[str, Any]]:
    """What a run noted about its stages; nothing if it ended none. Damaged lines are left out."""
    lines, _ = read_lines(store, path_of(run, STAGES), NEEDED)
    return lines


def plans(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each run that has a readable plan, newest first, with the plan."""
    for run in reversed(run_names(store)):
        try:
            yield run, damaged.read_json(store, path_of(run, PLAN))
        except (FileNotFoundError, DamagedError):
            continue


def maker(store: Store, table: str, config_hash: str) -> tuple[str, dict[str, Any]] | None:
    """The oldest run that pinned a table, with its plan: it made it; None if no run tells."""
    found = None
    for run, plan in plans(store):
        tables = plan.get("tables")
        if isinstance(tables, dict) and tables.get(table) == config_hash:
            found = run, plan
    return found


def path_of(run: str, file: str = "") -> str:
    """Path below the corpus of a run's file, or of its folder."""
    return f"{ROOT}/{run}/{file}" if file else f"{ROOT}/{run}"


def read_json(store: Store, name: str) -> dict[str, Any]:
    """A JSON object; empty if there is no such file, or if it is left out as damaged.

    Raises:
        DamagedError: It holds something else.
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
    """JSON objects, one a line, and how many lines could not be read.

    Args:
        store: The corpus's store.
        name: The file; if it is not there, or left out as damaged, it has no lines.
        needed: Keys of each object, with the types of their values.

    Raises:
        DamagedError: A folder lies in its place, or this user may not read it.
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
