"""How runs went, told at equal counts of tokens."""

import json
import math

import pytest

from nucleus_model.training.verdict.health import at_tokens, read_steps, routers


def test_losses_are_told_at_a_quarter_half_three_quarters_and_the_end() -> None:
    falling = [float(100 - step) for step in range(100)]
    values = {"a": [falling] * 3, "b": [[v + 1 for v in falling]] * 3}
    rows = at_tokens(values, range(64, 6401, 64), 2, pairs=True)
    assert [row.name for row in rows] == [f"{n:,} image tokens" for n in (1600, 3200, 4800, 6400)]
    assert [row.pictures for row in rows] == [20] * 4
    # Of the last tenth before the point: steps 16 to 25 are 85 to 76.
    assert rows[0].a == pytest.approx(80.5)
    assert (rows[3].b - rows[3].a, rows[3].low, rows[3].high) == pytest.approx((1.0, 1.0, 1.0))
    few = at_tokens({"a": [[1.0]] * 2, "b": [[2.0]] * 2}, [64], 2, pairs=False)
    assert [row.name for row in few] == ["64 image tokens"]


def test_a_step_that_was_not_finite_is_no_number_and_stops_nothing(tmp_path) -> None:
    lines = [
        {"step": 1, "loss": 1.0, "grad_norm": 0.5, "samples": 4, "lr": 0.1},
        {"step": 2, "loss": None, "grad_norm": None, "samples": 4, "image_tokens": 20},
        {"step": 2, "router": {"1": {"uncovered": 0.1, "single": 0.2, "max_load": 3.0}}},
        {"step": 3, "router": {"1": {"uncovered": 0.3, "single": 0.2, "max_load": 3.0}}},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    steps, router = read_steps(tmp_path, 8)
    assert [step["samples"] for step in steps] == [4, 4]
    assert [step["image_tokens"] for step in steps] == [32, 20]  # the first was not counted
    assert math.isnan(steps[1]["loss"])
    assert router["1"]["uncovered"] == 0.3
    odd = [step["loss"] for step in steps]
    last = at_tokens({"a": [odd] * 2, "b": [odd] * 2}, [8, 16], 4, pairs=True)[-1]
    assert (last.low, last.high) == (-math.inf, math.inf)


def test_routers_are_told_as_a_mean_and_by_the_worst_block() -> None:
    def block(single: float) -> dict[str, float]:
        return {"uncovered": 0.0, "single": single, "max_load": 4.0}

    runs = {"a": [{"1": block(0.1), "2": block(0.3)}] * 2, "b": [{"1": block(0.5)}] * 2}
    rows = {row.name: row for row in routers(runs, 32, pairs=True)}
    assert rows["share of tokens with one expert, mean of blocks"].a == pytest.approx(0.2)
    assert rows["share of tokens with one expert, worst block"].a == pytest.approx(0.3)
    one = routers({"a": [{"1": block(0.1)}] * 2, "b": [{"1": block(0.1)}] * 2}, 32, pairs=True)
    assert len(one) == 3
    assert routers({"a": [{}, {}], "b": [{}, {}]}, 32, pairs=True) == []
