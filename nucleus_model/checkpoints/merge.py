"""One checkpoint out of several: the weighted mean of their weights.

merge_checkpoints(folders, merge_weights("inverse_sqrt", len(folders)), Path("merged"))
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nucleus_model.checkpoints.checkpoint import (
    WEIGHTS,
    damaged,
    empty_model,
    read_record,
    save_checkpoint,
    weights_of,
)
from nucleus_model.checkpoints.lineage import differences, same_data, stored_settings


def merge_checkpoints(folders: Sequence[Path], weights: Sequence[float], out: Path) -> None:
    """Writes a checkpoint whose every tensor is the weighted mean of those of others.

    Sums are taken in float64. All but the weights is as in the last checkpoint, and `merged` in
    `checkpoint.json` names what went in.

    Args:
        folders: Checkpoints of one configuration, in time's order.
        weights: One each; they are scaled to a sum of 1.
        out: Folder of the new checkpoint; one that is there is replaced.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: Another number of weights, no finite sum of them above 0, or checkpoints of
            different configurations or of unrelated runs.
    """
    if not folders or len(folders) != len(weights) or not 0 < sum(weights) < math.inf:
        raise ValueError(
            f"merging needs as many weights as checkpoints, of a finite sum above 0; got "
            f"{len(folders)} checkpoints and the weights {list(weights)}"
        )
    # Capacity factors count as well: checkpoints of phases with others answer differently.
    records = [read_record(folder) for folder in folders]
    for folder, record in zip(folders, records, strict=True):
        mine, last = record["transformer"], records[-1]["transformer"]
        if odd := sorted(k for k in mine.keys() | last.keys() if mine.get(k) != last.get(k)):
            raise ValueError(
                f"{folder} has another configuration than {folders[-1]} ({', '.join(odd)}); merge "
                "checkpoints of one model and one phase"
            )
    _check_lineage(folders, records)
    shares = [weight / sum(weights) for weight in weights]
    # For its configuration alone; the weights are given beside it.
    model = empty_model(folders[-1], records[-1])
    merged = {
        "names": [folder.name for folder in folders],
        "steps": [record.get("step") for record in records],
        "weights": shares,
    }
    content = {k: v for k, v in records[-1].items() if k not in ("format", "transformer", "merged")}
    save_checkpoint(
        out, model, {**content, "merged": merged}, weights=weighted_mean(folders, shares)
    )


def _check_lineage(folders: Sequence[Path], records: Sequence[Mapping[str, Any]]) -> None:
    """Refuses checkpoints of unrelated runs: the mean of their weights is no model."""
    # What a checkpoint of an earlier version does not say is not compared.
    for folder, record in zip(folders, records, strict=True):
        odd = []
        if "settings" in record and "settings" in records[-1]:
            odd = differences(
                stored_settings(record["settings"], str(folder)),
                stored_settings(records[-1]["settings"], str(folders[-1])),
                "there",
            )
        if "data" in record and "data" in records[-1]:
            odd += [] if same_data(record["data"], records[-1]["data"]) else ["the training set"]
        if odd:
            raise ValueError(
                f"{folder} is of another run than {folders[-1]}: {', '.join(odd)}; merge "
                "checkpoints of one run, or of a run and its extension, oldest first"
            )


def weighted_mean(folders: Sequence[Path], shares: Sequence[float]) -> Mapping[str, torch.Tensor]:
    """Returns the mean of checkpoints' tensors; beside it two tensors are in memory at a time.

    Args:
        folders: Checkpoints of one configuration.
        shares: One each, of sum 1.

    Raises:
        ValueError: A file of weights is damaged, or lacks what the last one has.
    """
    from safetensors import SafetensorError, safe_open

    files = []
    for folder in folders:
        try:
            files.append(safe_open(weights_of(folder), "pt"))
        except SafetensorError as error:
            raise damaged(folder / WEIGHTS, error) from error
    mean = {}
    for name in files[-1].keys():  # noqa: SIM118 (it is no mapping)
        last = files[-1].get_tensor(name)
        total = torch.zeros_like(last, dtype=torch.float64)
        for folder, file, share in zip(folders, files, shares, strict=True):
            try:
                total.add_(file.get_tensor(name), alpha=share)
            except (SafetensorError, RuntimeError) as error:  # it is not there, or of other shape
                raise damaged(folder / WEIGHTS, error) from error
        mean[name] = total.to(last.dtype)
    return mean
