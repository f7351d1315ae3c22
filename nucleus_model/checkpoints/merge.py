"""Merges several checkpoints into one: the weighted mean of their weights.

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
    """Writes a checkpoint in which every tensor is the weighted mean of those of other checkpoints.

    Sums are computed in float64. Everything except the weights is copied from the last checkpoint.
    `merged` in `checkpoint.json` names the merged checkpoints.

    Args:
        folders: Checkpoints with the same configuration, oldest first.
        weights: The weight of each checkpoint; they are scaled to a sum of 1.
        out: Folder of the new checkpoint; an existing one is replaced.

    Raises:
        FileNotFoundError: A checkpoint does not exist.
        ValueError: The number of weights is wrong, their sum is not finite or not above 0, a
            checkpoint is damaged, or checkpoints have different configurations or unrelated runs.
    """
    if not folders or len(folders) != len(weights) or not 0 < sum(weights) < math.inf:
        raise ValueError(
            f"merging needs one weight per checkpoint, with a finite sum above 0; got "
            f"{len(folders)} checkpoints and the weights {list(weights)}"
        )
    # Capacity factors are compared, too: with other factors, the same weights are another model.
    records = [read_record(folder) for folder in folders]
    for folder, record in zip(folders, records, strict=True):
        mine, last = record["transformer"], records[-1]["transformer"]
        if odd := sorted(k for k in mine.keys() | last.keys() if mine.get(k) != last.get(k)):
            raise ValueError(
                f"the configurations of {folder} and {folders[-1]} differ ({', '.join(odd)}); only "
                "checkpoints of the same model and phase can be merged"
            )
    _check_lineage(folders, records)
    shares = [weight / sum(weights) for weight in weights]
    # Only its configuration is used; the weights are passed separately.
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
    """Rejects checkpoints of unrelated runs, as the mean of their weights is no useful model."""
    # Facts that are missing in checkpoints of earlier versions are not compared.
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
                f"{folder} and {folders[-1]} are of different runs: {', '.join(odd)}; only "
                "checkpoints of one run, or of a run and its extension, can be merged, oldest first"
            )


def weighted_mean(folders: Sequence[Path], shares: Sequence[float]) -> Mapping[str, torch.Tensor]:
    """Returns the weighted mean of checkpoints, by tensor.

    Besides the result, only two tensors are in memory at a time.

    Args:
        folders: Checkpoints with the same configuration.
        shares: The weight of each checkpoint; they sum to 1.

    Raises:
        FileNotFoundError: A file of weights does not exist.
        ValueError: A file of weights is damaged, or lacks a tensor of the last one.
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
            except (SafetensorError, RuntimeError) as error:  # missing, or of another shape
                raise damaged(folder / WEIGHTS, error) from error
        mean[name] = total.to(last.dtype)
    return mean
