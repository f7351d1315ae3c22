"""The self-test of the verdict: its table from lines, and small parts of it that run."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.drawn import Drawn, stored
from nucleus_model.training.verdict.plan import Arm, plan_comparison
from scripts.verdict.cases import FULL, PARTS, QUICK, cases
from scripts.verdict.faults import KINDS, clean, named
from scripts.verdict.lines import Lines
from scripts.verdict.pool import pool, write_set
from scripts.verdict.table import arms_of, drawn_share, fitting_halves, table
from scripts.verdict_self_test import LINES, main
from tests.support.quick import quick

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "scripts/verdict/measured"
MEASURES = ("loss", "low_sigma", "high_sigma", "caption_gap", "empty_gap", "memorised")


def line(case, word="no difference", told=(), alarms=()):
    """A line of a case, of a comparison that found some measures worse."""
    directions = {name: -int(name in told) for name in MEASURES}
    return {
        **case.about(),
        "word": word,
        "sentence": word,
        "pairs": True,
        "shared": {"both": 90, "a_only": 5, "b_only": 5},
        "findings": [
            {
                "name": n,
                "mean": 0.02,
                "low": 0.01,
                "high": 0.03,
                "p": 0.01 if n in told else 0.5,
                "direction": directions[n],
            }
            for n in MEASURES
        ],
        "values": {"a": {n: [1.0, 2.0, 4.0] for n in MEASURES}}
        | {"b": {n: [1.5, 2.4, 4.6] for n in MEASURES}},
        "sample_alarms": list(alarms),
    }


def chosen(part, kind=None, dose=None):
    return [
        case
        for case in cases([part], FULL)
        if kind in (None, case.kind) and dose in (None, case.dose)
    ]


@pytest.mark.slow
def test_the_table_counts_alarms_of_the_verdict_and_of_the_control():
    lines = [line(case, alarms=["loss"]) for case in chosen("aa")]
    lines[3] = line(chosen("aa")[3], "worse", ["loss"], ["loss"])
    lines[60:] = [{**one, "drawn": True} for one in lines[60:]]
    rows = table(lines).splitlines()
    start = "| the verdict, 6 seeds each | the other 60 | 0 | 0 % (0 to 6) | 0 |"
    assert rows[2].startswith(start)
    assert rows[3].startswith("| the verdict, 6 seeds each, before ")
    assert rows[3].endswith(" | the first 60 | 1 | 2 % (0 to 9) | 1 |")
    # Seeds alone are counted on both halves: on the first the term was fitted.
    assert [row.split(" | ")[:2] for row in rows[4:6]] == [
        ["| seeds alone, again", "the first 60"],
        ["| seeds alone, again", "the other 60"],
    ]
    start = "| a bootstrap over samples (must fail) | all 120 | 120 | 100 % (97 to"
    assert rows[7].startswith(start)
    # What was judged with it did not help to fit it.
    assert len(fitting_halves(lines)) == 60


@pytest.mark.slow
def test_the_share_that_a_set_s_choice_adds_is_found_again():
    rng, known = np.random.default_rng(0), Drawn(0.5, 400, 0)
    lines = []
    for _ in range(1200):
        sets = rng.normal(0, known.share**0.5, 2)
        runs = sets[:, None] + rng.normal(0, 1, (2, 6))
        values = {arm: dict.fromkeys(MEASURES, of) for arm, of in zip("ab", runs, strict=True)}
        lines.append((values, {"both": 0, "a_only": 410, "b_only": 390}))
    found = drawn_share(lines)
    assert found.share == pytest.approx(known.share, rel=0.15)
    assert (found.pictures, found.comparisons) == (400, len(lines))


@pytest.mark.slow
def test_what_is_committed_is_what_its_lines_say():
    """The share that comparisons count with, and the tables of the docs."""
    lines = list(Lines(MEASURED / LINES))
    halves = fitting_halves([line for line in lines if line["part"] == "aa"])
    assert len(halves) == 60
    known, _ = stored("debug")
    found = drawn_share([arms_of(line) for line in halves])
    assert (round(found.share, 3), found.pictures, found.comparisons) == tuple(vars(known).values())
    docs = (ROOT / "nucleus_data/docs/verdict.md").read_text(encoding="utf-8")
    for row in table(lines).splitlines():
        assert row in docs, "python scripts/verdict_self_test.py --out scripts/verdict/measured"


@pytest.mark.slow
def test_the_table_has_each_dose_and_the_smallest_that_is_seen():
    kind = "swapped captions"
    lines = [line(case, "worse", ["caption_gap", "loss"]) for case in chosen("faults", kind, 0.3)]
    lines += [line(case, "worse", ["caption_gap"]) for case in chosen("repeats", kind, 0.3)]
    lines += [line(case, "worse", ["low_sigma"]) for case in chosen("faults", kind, 0.1)]
    lines += [line(case) for case in chosen("faults", kind, 0.05)]
    text = table(lines)
    assert "| swapped captions | 30 % | 3 of 3 | 3 of 3 |  | **+0.0200 ± 0.0100** |" in text
    assert "| swapped captions | 10 % | 1 of 1 | 0 of 1 | pictures 1 | +0.0200 ± 0.0100 |" in text
    assert "| swapped captions | 5 % | 0 of 1 | 0 of 1 |  |" in text
    assert "| swapped captions | captions | 10 % |" in text
    assert "| blur | pictures | - |" in text


def test_the_table_tells_deviations_with_and_without_pairs():
    text = table([line(case) for case in chosen("share", dose=0.05)])
    assert "| 5 % | 0.90 | loss | 0.1 | 2.2 | +1.00 | pairs |" in text


@pytest.mark.parametrize(
    ("worse", "kinds"),
    [
        (["caption_gap", "loss", "high_sigma"], ["captions"]),
        (["low_sigma", "caption_gap"], ["pictures", "captions"]),
        (["memorised", "low_sigma"], ["duplicates", "pictures"]),
        (["loss"], []),
    ],
)
def test_kinds_that_are_worse_are_named_the_surest_first(worse, kinds):
    sure = {name: 0.001 * (place + 1) for place, name in enumerate(worse)}
    found = [
        {"name": name, "p": sure.get(name, 0.0), "direction": -1 if name in sure else 1}
        for name in MEASURES
    ]
    assert named(found) == kinds


def test_all_cases_have_keys_of_their_own_and_share_the_clean_sets_seeds():
    every = list(cases(PARTS, FULL))
    assert len({case.key for case in every}) == len(every)
    least = [c for c in every if (c.kind, c.dose) == ("swapped captions", 0.05)]
    assert len(least) == 10
    assert {c.seeds for c in every if c.part in ("faults", "repeats")} == {0, 6, 12}
    assert len({c.seeds for c in every if c.part == "aa"}) == 120
    assert replace(every[0], pictures=7).key != every[0].key


@pytest.mark.parametrize("kind", quick(KINDS.values(), 2), ids=lambda kind: kind.name)
def test_a_larger_dose_has_the_faults_of_a_smaller_one(kind):
    pictures = pool(40)
    true = {item.key: item for item in clean(pictures)}
    changed = []
    for dose in kind.doses:
        made = {item.key: item for item in kind.plant(pictures, dose, 1)}
        changed.append({key for key in true if made.get(key) != true[key]})
    sizes = [len(keys) for keys in changed]
    assert changed[0]
    assert changed[0] <= changed[1] <= changed[2]
    assert sizes[0] < sizes[2] or kind.name == "JPEG quality"


def test_a_line_that_a_kill_cut_short_is_done_again(tmp_path):
    file = tmp_path / LINES
    lines = Lines(file)
    lines.add({"key": "one", "value": 1})
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"key": "tw')
    again = Lines(file)
    assert "one" in again
    assert "tw" not in again
    assert file.read_bytes() == whole


# The rest runs the product's whole way, from the set's writer to the sentence.
FAULT = next(case for case in cases(["faults"], QUICK) if case.kind == "noise")
EQUALS = list(cases(["aa"], QUICK))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    from scripts.verdict_self_test import run

    out = tmp_path_factory.mktemp("selftest")
    run(out, [FAULT, *EQUALS])
    return out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_equals_are_equal_and_a_fault_is_named(done, capsys):
    lines = list(Lines(done / LINES))
    fault, equals = lines[0], lines[1:]
    assert fault["word"] == "worse"
    assert "pictures" in named(fault["findings"])
    alarms = [line["key"] for line in equals if line["word"] != "no difference"]
    assert len(alarms) <= 1, "of 6 more than 1 is a chance of 3 %, if the level of 5 % holds"
    assert sum(bool(line["sample_alarms"]) for line in equals) >= 2 + len(alarms) - 1
    assert not any((done / "work").iterdir())
    assert main(["--out", str(done), "--table"]) == 0
    assert "| noise | 100 % | 1 of 1 | 1 of 1 |" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_test_that_is_killed_goes_on_to_equal_lines(done, tmp_path):
    from scripts.verdict_self_test import run

    command = [sys.executable, "-m", "scripts.verdict_self_test", "--quick", "--part", "aa"]
    process = subprocess.Popen([*command, "--out", str(tmp_path)], cwd=ROOT, env=dict(os.environ))
    try:
        # Killed in its second comparison, after a run of it.
        while process.poll() is None and not _amid_the_second(tmp_path):
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(Lines(tmp_path / LINES))) == 1
    run(tmp_path, EQUALS[:2])
    whole = (done / LINES).read_text().splitlines()[1:3]
    assert (tmp_path / LINES).read_text().splitlines() == whole


def _amid_the_second(out):
    key = EQUALS[1].key.replace("/", "-").replace(" ", "_")
    return any((out / "work" / key).glob("verdict/runs/*/losses.parquet"))


def test_the_pool_is_the_same_each_time():
    one, other = (pool(3)[2] for _ in range(2))
    assert one.caption == other.caption
    assert np.array_equal(np.asarray(one.picture), np.asarray(other.picture))
    assert json.dumps(one.item.caption)


@pytest.mark.slow
@pytest.mark.parametrize("dose", KINDS["duplicates"].doses)
def test_planted_duplicates_are_counted(dose, tmp_path):
    pictures = pool(200)
    arms = [
        Arm(str(write_set(tmp_path / name, records)), name=name)
        for name, records in (
            ("clean", clean(pictures)),
            ("b", KINDS["duplicates"].plant(pictures, dose, 0)),
        )
    ]
    planned = plan_comparison(*arms, VerdictSettings(preset="debug", pictures=20))
    assert planned.copies["a"].share == 0
    assert planned.copies["b"].share == pytest.approx(dose, abs=0.01)
