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
from typing import Any

from nucleus_data.corpus.store import Store

ROOT = "runs"
PLAN, STAGES, FAILURES = "plan.json", "stages.jsonl", "failures.jsonl"
TRAINING = "quick_train"
COPIED = (".jsonl", ".png", ".json")


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
        self.store.put(self.path(PLAN), json.dumps(plan, sort_keys=True, indent=1).encode())

    def add_stage(self, line: Mapping[str, Any]) -> None:
        """Notes a stage's counts."""
        self.stages.append(dict(line))
        self.store.put(self.path(STAGES), _jsonl(self.stages))

    def add_failures(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Notes failed shards."""
        self.failures += [dict(line) for line in lines]
        self.store.put(self.path(FAILURES), _jsonl(self.failures))

    def inherit(self, stages: Sequence[str]) -> None:
        """Takes over, for the report, the newest earlier lines about stages not in this run.

        Args:
            stages: Names of stages, in the order in which their lines are put.
        """
        have = {line["stage"] for line in self.stages}
        for run in earlier(self.store, self.name):
            for line in stage_lines(self.store, run):
                if line["stage"] in stages and line["stage"] not in have:
                    have.add(line["stage"])
                    self.stages.append(line)
                    if line["stage"] == TRAINING:
                        self._copy_training(run)
        order = list(stages)
        self.stages.sort(
            key=lambda line: order.index(line["stage"]) if line["stage"] in order else -1
        )
        self.store.put(self.path(STAGES), _jsonl(self.stages))

    def _copy_training(self, run: str) -> None:
        """Copies an earlier run's curve and samples, not its checkpoints."""
        for name in self.store.list(path_of(run, TRAINING)):
            if name.endswith(COPIED):
                content = self.store.read(path_of(run, f"{TRAINING}/{name}"))
                self.store.put(self.path(f"{TRAINING}/{name}"), content)

    def newest_failed_shards(self, stage: str) -> list[int]:
        """Shards that failed when a stage was last run, before this run, ascending."""
        for run in earlier(self.store, self.name):
            mine = [line for line in stage_lines(self.store, run) if line["stage"] == stage]
            if not mine:
                continue
            if not any(line["failed_shards"] for line in mine):
                return []
            failures = self.store.read(path_of(run, FAILURES)).splitlines()
            found = [json.loads(line) for line in failures]
            return sorted(line["shard"] for line in found if line["stage"] == stage)
        return []


def run_names(store: Store) -> list[str]:
    """Names of runs, oldest first."""
    return store.list(ROOT)


def earlier(store: Store, name: str) -> Iterable[str]:
    """Names of the runs before one, newest first."""
    return reversed([run for run in run_names(store) if run < name])


def stage_lines(store: Store, run: str) -> list[dict[str, Any]]:
    """What a run noted about its stages; nothing if it ended none."""
    try:
        return [json.loads(x) for x in store.read(path_of(run, STAGES)).splitlines()]
    except FileNotFoundError:
        return []


def plans(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each run that has a readable plan, newest first, with the plan."""
    for run in reversed(run_names(store)):
        try:
            yield run, json.loads(store.read(path_of(run, PLAN)))
        except (FileNotFoundError, ValueError):
            continue


def path_of(run: str, file: str = "") -> str:
    """Path below the corpus of a run's file, or of its folder."""
    return f"{ROOT}/{run}/{file}" if file else f"{ROOT}/{run}"


def read_json(store: Store, name: str) -> dict[str, Any]:
    """A JSON object; empty if there is no such file."""
    try:
        content = json.loads(store.read(name))
    except FileNotFoundError:
        return {}
    return content if isinstance(content, dict) else {}


def read_lines(store: Store, name: str) -> tuple[list[dict[str, Any]], int]:
    """JSON objects, one a line, and how many lines could not be read."""
    try:
        text = store.read(name).decode("utf-8", "replace")
    except FileNotFoundError:
        return [], 0
    found, unreadable = [], 0
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            content = None
        if isinstance(content, dict):
            found.append(content)
        else:
            unreadable += 1
    return found, unreadable


def _jsonl(lines: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()
