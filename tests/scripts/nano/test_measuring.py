"""The figures that nano models are measured by, on small cases."""

import numpy as np
import pytest

from scripts.nano.measuring import auc, precision_at_recall, psnr, rank_correlation
from scripts.nano.training import CHOSEN_SEED, HELD_OUT_SEED, SEEDS

pytest.importorskip("torch")


def test_no_model_is_measured_on_what_it_was_trained_on():
    assert len({*SEEDS.values(), CHOSEN_SEED, HELD_OUT_SEED}) == len(SEEDS) + 2


def test_auc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    a, b = rng.integers(6, size=30) + 1.0, rng.integers(6, size=50) + 0.0
    pairs = [(x > y) + 0.5 * (x == y) for x in a for y in b]
    assert auc(a, b) == pytest.approx(np.mean(pairs))
    assert auc(np.array([3.0, 4]), np.array([1.0, 2])) == 1


def test_precision_at_recall_and_rank_correlation_by_hand():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    truth = np.array([True, False, True, True, False])
    assert precision_at_recall(scores, truth, 0.3) == 1
    assert precision_at_recall(scores, truth, 0.6) == pytest.approx(2 / 3)
    assert precision_at_recall(scores, truth, 0.9) == pytest.approx(3 / 4)
    assert rank_correlation(np.array([1.0, 5, 3]), np.array([2.0, 9, 4])) == pytest.approx(1)
    assert psnr(np.zeros((2, 2)), np.full((2, 2), 255.0)) == pytest.approx(0)
