import numpy as np
import pytest

from nucleus_data.engines.head_training import PENALTIES, rank_correlation, train_head

COUNT, WIDTH = 400, 8


def made(seed=0, noise=0.1):
    """Unit vectors, weights, and ratings by them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((COUNT, WIDTH))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    weights = rng.standard_normal(WIDTH)
    return x, weights, 5 + x @ weights + rng.normal(0, noise, COUNT)


ALONE = [f"{i:04d}" for i in range(COUNT)]
FOLDS = np.arange(COUNT) % 5


def test_ridge_finds_the_weights_and_says_how_well():
    x, weights, y = made()
    found = train_head(x, y, ALONE, FOLDS, "value", 0)
    (layer,) = found.head.layers
    assert layer.weight[0] == pytest.approx(weights, abs=0.06)
    assert found.head.score(x) == pytest.approx(y, abs=0.5)
    assert found.low < found.correlation < found.high
    assert found.correlation == pytest.approx(rank_correlation(found.said, y))
    assert found.error == pytest.approx(0.1, abs=0.02)
    assert len(found.folds) == len(found.penalties) == 5
    assert set(found.penalties) <= set(PENALTIES)


def ridge(x, y, penalty):
    """Weights and bias, in closed form."""
    centred, off = x - x.mean(0), y - y.mean()
    gram = centred.T @ centred / len(y) + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, centred.T @ off / len(y))
    return weights, y.mean() - x.mean(0) @ weights


@pytest.mark.slow
def test_ridge_is_the_closed_form():
    x, _, y = made(noise=2.0)
    found = train_head(x, y, ALONE, FOLDS, "value", 0)
    weights, bias = ridge(x.astype(float), y, found.penalty)
    assert found.head.layers[0].weight[0] == pytest.approx(weights, abs=1e-4)
    assert found.head.layers[0].bias[0] == pytest.approx(bias, abs=1e-4)


@pytest.mark.slow
def test_each_fold_is_judged_by_a_head_that_saw_none_of_it():
    x, _, y = made(noise=2.0)
    found = train_head(x, y, ALONE, FOLDS, "value", 0)
    for fold, penalty in enumerate(found.penalties):
        weights, bias = ridge(x[fold != FOLDS].astype(float), y[fold != FOLDS], penalty)
        here = fold == FOLDS
        assert found.said[here] == pytest.approx(x[here] @ weights + bias, abs=1e-6)
        assert found.folds[fold] == pytest.approx(rank_correlation(found.said[here], y[here]))


@pytest.mark.slow
def test_logistic_regression_gives_probabilities():
    x, weights, _ = made()
    chance = 1 / (1 + np.exp(-4 * x @ weights))
    y = (np.random.default_rng(1).random(COUNT) < chance).astype(float)
    found = train_head(x, y, ALONE, FOLDS, "probability", 0)
    said = found.head.score(x)
    assert ((said > 0) & (said < 1)).all()
    assert np.abs(said - chance).mean() < 0.08
    assert found.correlation > 0.5


def test_noise_is_not_learned():
    x, _, _ = made()
    y = np.random.default_rng(1).standard_normal(COUNT)
    found = train_head(x, y, ALONE, FOLDS, "value", 0)
    assert found.low < 0 < found.high + 0.1
    assert found.error < 1.1 * y.std()


@pytest.mark.slow
def test_copies_in_one_fold_make_the_interval_wider_and_no_figure_better():
    x, _, y = made(noise=1.0)
    every = 8
    x, y = (np.repeat(values[: COUNT // every], every, axis=0) for values in (x, y))
    clusters = [f"{i // every}" for i in range(COUNT)]
    folds = np.arange(COUNT) // every % 5
    apart = train_head(x, y, ALONE, np.arange(COUNT) % 5, "value", 0)
    together = train_head(x, y, clusters, folds, "value", 0)
    assert together.error > apart.error
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


@pytest.mark.slow
def test_the_same_twice():
    x, _, y = made()
    one, other = (train_head(x, y, ALONE, FOLDS, "probability", 0) for y in [y > 5] * 2)
    assert (one.head.layers[0].weight == other.head.layers[0].weight).all()
    assert (one.low, one.high) == (other.low, other.high)


@pytest.mark.slow
def test_ranks_with_ties_are_those_of_the_library():
    scipy = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, 60).astype(float), rng.standard_normal(60)
    assert rank_correlation(one, other) == pytest.approx(scipy.spearmanr(one, other).statistic)
    assert rank_correlation(np.ones(5), np.arange(5.0)) == 0
