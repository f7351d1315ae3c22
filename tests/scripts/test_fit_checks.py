import numpy as np
import pytest

fit = pytest.importorskip("scripts.fit_checks")
fitting = pytest.importorskip("scripts.checks.fitting")

from nucleus_data.stages.caption.checks.learned import KINDS, WEIGHTS, read_model  # noqa: E402

AUTHORS = ["a", "b", "c", "d", "e", "m"]


def test_each_author_has_answers_of_each_kind_and_none_twice():
    texts = []
    for author in AUTHORS:
        rows = fit.read(fit.ANSWERS / f"{author}.jsonl")
        assert {kind for kind, _ in rows} == {*KINDS, "good"}
        texts += [text for _, text in rows]
    assert len(set(texts)) > 0.99 * len(texts)


@pytest.mark.slow
def test_of_answers_that_were_never_fitted_on_95_percent_are_found_and_named_rightly():
    answers = fit.unseen()
    fitted_on = {text for _, text in fit.answers()}
    assert len(answers) == 1800
    # Two are what some models literally say: "unanswerable".
    assert len(fitted_on.intersection(text for _, text in answers)) <= 2
    for found in fit.found_of(answers, fit.checked(answers)):
        assert found.true >= 300
        assert found.right >= 0.95 * found.true, found
        assert found.right >= 0.95 * found.named, found


def test_what_no_check_finds_is_not_counted_as_found():
    answers = [("refusal", ""), ("chatter", ""), ("good", ""), ("good", "")]
    found = np.array([[True, True, False], [True, False, True], [False, False, False]])
    found = np.vstack([found, [False, True, True]])
    refusal, chatter, boilerplate = fit.found_of(answers, found)
    assert (refusal.right, refusal.true, refusal.named, refusal.good) == (1, 1, 2, 0)
    assert (chatter.right, chatter.true, chatter.named, chatter.good) == (0, 1, 1, 1)
    assert (boilerplate.true, boilerplate.named) == (0, 0)


def test_a_kind_is_learned_from_texts_of_which_one_sentence_has_it():
    rows = [("good", f"A ring {n} lies here. It is red {n}.") for n in range(30)]
    rows += [("chatter", f"A ring {n} lies here. Zounds {n}. It is red.") for n in range(30)]
    names, weights = fit.fitted(rows, fitting.Penalty(lasso=1e-3))
    found = dict(zip(names, weights[:, KINDS.index("chatter")], strict=False))
    assert found["zounds"] > 0.5
    assert found["ring"] <= 0
    assert (weights[:-1, KINDS.index("refusal")] <= 0).all()


def test_regression_agrees_with_its_own_slope():
    # At the best weights without a lasso, the slope of loss and ridge is zero.
    rng = np.random.default_rng(0)
    matrix = fitting.sparse.csr_matrix((rng.random((200, 4)) < 0.5) * 1.0)
    truth = np.eye(4)[rng.integers(0, 4, 200)][:, :3]
    weights = np.full(200, 1 / 200)
    penalty = fitting.Penalty(lasso=0.0, ridge=0.05)
    found = fitting.regression(matrix, truth, weights, penalty)
    error = weights[:, None] * (fitting.shares(matrix @ found[:-1] + found[-1]) - truth)
    assert np.abs(matrix.T @ error + penalty.ridge * found[:-1]).max() < 1e-4


@pytest.mark.slow
def test_the_committed_weights_are_those_of_the_committed_answers():
    now = read_model(fit.written(*fit.fitted(fit.answers(), fit.Penalty())))
    then = read_model(WEIGHTS.read_text(encoding="utf-8"))
    # Sums of another order may round a weight the other way.
    for term in now.weights.keys() | then.weights.keys():
        one, other = (known.weights.get(term, (0.0,) * 3) for known in (now, then))
        assert one == pytest.approx(other, abs=0.021), term
    assert now.bias == pytest.approx(then.bias, abs=0.021)
