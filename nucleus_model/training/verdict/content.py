"""Builds the content of `verdict.json`: the verdict, and the details behind it.

It contains no wall-clock times, so that a repeated comparison gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.engines.find import TEXT_ENCODER, resolve_model
from nucleus_model.settings.presets import PRESETS
from nucleus_model.settings.text_encoder import TextSettings
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.collect import (
    REFERENCE,
    memory_variance,
    of_part,
    picture_differences,
    replicates,
)
from nucleus_model.training.verdict.descriptive import (
    LEAST,
    Row,
    bins,
    changed_most,
    curve,
    groups,
    members_of,
)
from nucleus_model.training.verdict.drawn import note, stored, weights
from nucleus_model.training.verdict.facts import stated, unread
from nucleus_model.training.verdict.findings import Finding
from nucleus_model.training.verdict.health import at_tokens, read_steps, routers
from nucleus_model.training.verdict.intervals import crossed
from nucleus_model.training.verdict.judge import Claim, jsonable, judge
from nucleus_model.training.verdict.known import Measured, known, measured
from nucleus_model.training.verdict.objects import is_checked, objects_right
from nucleus_model.training.verdict.plan import GIVEN, Planned
from nucleus_model.training.verdict.power import power
from nucleus_model.training.verdict.replicates import pilot_deviation
from nucleus_model.training.verdict.run import RunSpec

# From this share of common pictures on, a seed's two runs are analysed as a pair. This is decided
# by ids, before any loss is known: choosing the test by its result would raise the false-alarm
# rate.
PAIRED_FROM = 0.5
EXAMPLES = 3  # pictures that could not be read
LIMITS = (
    "What a large model would make of the data: a small model sees whether captions and pictures "
    "belong together and can be learned, not fine detail or rare concepts.",
    "Anything at other resolutions, or after longer training than these steps.",
    "Whether the reference is what the model is for: the verdict is about its pictures.",
    "What duplicates cost, unless there are plenty. Copies with the same bytes are counted "
    "instead; for a claim about recipes, also those that `dedup` found.",
)
Tables = Mapping[str, Sequence[pa.Table]]


def shared(planned: Planned) -> dict[str, int]:
    """Counts the training pictures that are in both arms, in A only, and in B only."""
    in_a, in_b = (planned.pictures.column(arm) for arm in ("a", "b"))
    counts = {
        "both": pc.and_(in_a, in_b),
        "a_only": pc.and_not(in_a, in_b),
        "b_only": pc.and_not(in_b, in_a),
    }
    return {name: int(pc.sum(mask).as_py() or 0) for name, mask in counts.items()}


def are_equal(planned: Planned) -> bool:
    """Whether both arms train on the same pictures."""
    counts = shared(planned)
    return not counts["a_only"] and not counts["b_only"]


def are_pairs(planned: Planned) -> bool:
    """Whether a seed's two runs are analysed as a pair."""
    counts = shared(planned)
    return counts["both"] >= PAIRED_FROM * sum(counts.values())


def picture_tokens(planned: Planned, resolution: int) -> int:
    """Returns the number of image tokens of a square picture; other buckets have others."""
    training = planned.settings.training(0)
    token = PRESETS[training.preset].patch * training.codec_factor
    return (resolution // token) ** 2


def found_in(planned: Planned, out: Path, tables: Tables, pilot: int | None) -> dict[str, Any]:
    """Builds the content of `verdict.json`.

    Args:
        planned: The comparison.
        out: Its folder.
        tables: Arm -> losses of its runs, by replicate.
        pilot: Number of pilot replicates for Stein's rule; None if the number of replicates was
            fixed.
    """
    settings, pairs = planned.settings, are_pairs(planned)
    values = replicates(tables, planned.memory)
    folders = {
        arm: [RunSpec(str(out), arm, n).folder for n in range(len(of))]
        for arm, of in tables.items()
    }
    parts = list(measured(planned))
    square = picture_tokens(planned, parts[0].opened.resolution)
    steps = {arm: [read_steps(folder, square) for folder in of] for arm, of in folders.items()}
    training = settings.training(0)
    met, tokens = (
        {arm: [round(sum(s[name] for s in lines)) for lines, _ in of] for arm, of in steps.items()}
        for name in ("samples", "image_tokens")
    )
    lost = {arm: unread(of) for arm, of in folders.items()}
    verdict = judge(
        values["a"],
        values["b"],
        Claim[settings.claim.upper()],
        pairs=pairs,
        pilot=pilot,
        image_tokens=(sum(tokens["a"]), sum(tokens["b"])),
        chosen={"memorised": memory_variance(tables, planned.memory)},
        drawn=weights(stored(settings.preset)[0], shared(planned)),
        facts=stated(planned.copies, lost),
    )
    a, b = (values[arm]["loss"][:pilot] for arm in ("a", "b"))
    own = 100 * pilot_deviation(a, b, pairs=pairs) / abs(float(a.mean()))
    return {
        **verdict.as_dict(),
        "preset": settings.preset,
        "text": _text(settings.text),
        "pairs": pairs,
        "shared": shared(planned),
        "arms": {
            arm: _arm(planned, arm, _mean(of), _mean(tokens[arm]), lost[arm])
            for arm, of in met.items()
        },
        "steps": training.steps,
        "image_tokens": round(_mean([*tokens["a"], *tokens["b"]])),
        "half_width": _half_width(settings, verdict.findings[0]),
        "power": _power(planned, verdict.findings[0], len(values["a"]["loss"]), own),
        "reference": _reference(planned, tables),
        "new_pictures": jsonable(asdict(crossed(picture_differences(tables)[1])))
        if pairs
        else None,
        "values": jsonable(
            {arm: {name: list(of) for name, of in by.items()} for arm, by in values.items()}
        ),
        **_described(planned, tables, parts, pairs=pairs),
        **_went(steps, training.batch_size, pairs=pairs),
        "objects": _rows(objects_right(folders, pairs=pairs)) if is_checked(parts) else [],
        "limits": list(LIMITS),
        "pictures_note": None if pairs else note(settings.preset),
    }


def _text(settings: TextSettings) -> dict[str, Any]:
    """Returns the identity of the text encoder, independent of its location."""
    model = resolve_model(settings.model, settings.revision, TEXT_ENCODER)
    state = settings.hidden_state
    return {"name": model.name, "revision": model.revision, "hidden_state": state}


def _described(
    planned: Planned, tables: Tables, parts: Sequence[Measured], *, pairs: bool
) -> dict[str, Any]:
    """Describes where the arms differ: by noise bins, groups and single pictures."""
    grouping = known(parts)
    hidden = {
        name: sum(0 < len(of) < LEAST for of in members_of(tables, group_of).values())
        for name, group_of in grouping.groups.items()
    }
    captions = dict(
        zip(*(planned.pictures.column(n).to_pylist() for n in ("id", "caption")), strict=True)
    )
    gained, lost = changed_most(tables)
    return {
        "bins": _rows(bins(tables, pairs=pairs)),
        "groups": {
            name: _rows(groups(tables, of, pairs=pairs)) for name, of in grouping.groups.items()
        },
        "groups_hidden": {name: count for name, count in hidden.items() if count},
        "groups_notes": list(grouping.notes),
        "gained": [{**asdict(change), "caption": captions[change.id]} for change in gained],
        "lost": [{**asdict(change), "caption": captions[change.id]} for change in lost],
    }


def _went(
    steps: Mapping[str, Sequence[tuple[list[dict[str, float]], dict[str, dict[str, float]]]]],
    pictures: int,
    *,
    pairs: bool,
) -> dict[str, Any]:
    """Describes the training: loss and gradient curves, values at fixed token counts, routers."""
    runs = [[line["image_tokens"] for line in lines] for of in steps.values() for lines, _ in of]
    least = min(map(len, runs))
    by_step = np.mean([run[:least] for run in runs], axis=0).cumsum()
    tokens = [round(float(count)) for count in by_step]
    values = {
        name: {
            arm: [[line[name] for line in lines] for lines, _ in of] for arm, of in steps.items()
        }
        for name in ("loss", "grad_norm")
    }
    return {
        "curves": {name: jsonable(asdict(curve(of, tokens))) for name, of in values.items()},
        "at_tokens": {
            name: _rows(at_tokens(of, tokens, pictures, pairs=pairs)) for name, of in values.items()
        },
        "routers": _rows(
            routers(
                {arm: [router for _, router in of] for arm, of in steps.items()},
                pictures,
                pairs=pairs,
            )
        ),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [jsonable(asdict(row)) for row in rows]


def _trained(planned: Planned, arm: str) -> int:
    """Counts the pictures that an arm trains on."""
    return int(pc.sum(planned.pictures.column(arm)).as_py())


def _power(planned: Planned, loss: Finding, replicates: int, percent: float) -> dict[str, Any]:
    """Describes the power; for its own number of seeds, by the interval that is stated."""
    found = power(
        planned.settings.trains,
        equal=are_equal(planned),
        pairs=are_pairs(planned),
        replicates=replicates,
        percent=percent,
    )
    for row in found["by_seeds"]:
        # This interval may be wider, by the choice of the sets' pictures or by a pilot's deviation.
        if row["seeds"] == replicates:
            row["sees"] = 100 * loss.detectable / abs(loss.a)
    content: dict[str, Any] = jsonable(found)
    return content


def _half_width(settings: VerdictSettings, loss: Finding) -> dict[str, Any] | None:
    """Compares the loss's interval with the target of `--half-width`; None without a target."""
    if settings.half_width is None:
        return None
    half = (loss.interval.high - loss.interval.low) / 2
    reached = bool(half <= settings.half_width)
    return jsonable({"target": settings.half_width, "half": half, "reached": reached})


def _arm(
    planned: Planned, name: str, taken: float, tokens: float, lost: Mapping[str, str]
) -> dict[str, Any]:
    """Describes an arm for the page.

    Args:
        planned: The comparison.
        name: The arm.
        taken: Pictures that a run took, on average, repetitions included.
        tokens: Image tokens that a run took, on average.
        lost: Id -> reason of its pictures that could not be read.
    """
    arm = planned.arms[name]
    pictures = _trained(planned, name)
    share = planned.settings.share if planned.settings.claim == "recipes" else 1
    return {
        "name": arm.name or arm.folder,
        "edition": arm.edition,
        "pictures": pictures,
        "copies": asdict(planned.copies[name]),
        "unread": {"pictures": len(lost), "examples": dict(list(lost.items())[:EXAMPLES])},
        "image_tokens": round(tokens),
        "epochs": taken / (pictures * share),
    }


def _reference(planned: Planned, tables: Tables) -> dict[str, Any]:
    memory = planned.memory
    words = (
        f"of {planned.arms[GIVEN].name or planned.arms[GIVEN].folder}"
        if GIVEN in planned.arms
        else "held out of both arms by a hash of their ids"
    )
    count = len(of_part(tables["a"][0], REFERENCE).ids)
    return {
        "pictures": count,
        "missing": int(pc.sum(planned.pictures.column(REFERENCE)).as_py()) - count,
        "words": words,
        "note": ". ".join(planned.notes) and ". ".join(planned.notes) + ".",
        "memorised": {
            "pictures": len(of_part(tables["a"][0], None, memory.ids).ids),
            "read_on": "as many that each arm has alone, trained on and not, by both arms"
            if memory.crossed
            else "pictures that both arms have, trained on and not",
        },
    }
