"""Sampling in the transformers engine."""

import numpy as np
import pytest

from nucleus_data.engines.captioner import Sampling
from tests.support.captioned import needs_torch


@needs_torch
class TestDraw:
    def draws(self, logits, sampling, seeds):
        import torch

        from nucleus_data.engines.draw import Draw

        rows = [Sampling(1, *sampling, seed=seed) for seed in seeds]
        before = torch.zeros(len(rows), 3, dtype=torch.long)
        scores = torch.tensor([logits] * len(rows))
        return Draw(rows, 3, [3] * len(rows), [0])(before, scores).argmax(-1).tolist()

    @pytest.mark.slow
    def test_frequencies_are_the_softmax(self):
        drawn = np.array(self.draws([2.0, 1.0, 0.0], (1.0, 1.0, 0.0), range(4000)))
        expected = np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum()
        np.testing.assert_allclose(np.bincount(drawn) / len(drawn), expected, atol=0.03)

    def test_top_p_keeps_the_likeliest_only(self):
        drawn = self.draws([2.0, 1.0, 0.0], (1.0, 0.8, 0.0), range(500))
        assert set(drawn) == {0, 1}

    def test_a_row_does_not_depend_on_its_company(self):
        logits = [0.5, 0.4, 0.3, 0.2]
        together = self.draws(logits, (1.0, 1.0, 0.0), range(20))
        alone = [self.draws(logits, (1.0, 1.0, 0.0), [seed])[0] for seed in range(20)]
        assert together == alone
        assert len(set(together)) > 1

    def test_temperature_zero_is_the_largest_after_the_penalty(self):
        import torch

        from nucleus_data.engines.draw import Draw

        said = torch.tensor([[9, 9, 1]])  # a prompt of two tokens, and token 1
        scores = torch.tensor([[0.0, 2.0, 1.0] + [-1.0] * 7])
        greedy = Draw([Sampling(1)], 2, [2], [0])(said, scores)
        assert greedy.argmax() == 1
        penalized = Draw([Sampling(1, presence_penalty=1.5)], 2, [2], [0])(said, scores)
        assert penalized.argmax() == 2
        assert penalized[0, 9] == -1.0, "the prompt's tokens are not penalized"

    def test_repetition_is_divided_or_multiplied_in_prompt_and_caption(self):
        import torch

        from nucleus_data.engines.draw import Draw

        said = torch.tensor([[5, 5, 9, 1]])  # padding twice, a prompt of one token, and token 1
        scores = torch.tensor([[0.0, 2.0, -2.0, 3.0, 0.0, 4.0, 0.0, 0.0, 0.0, -1.0]])
        made = Draw([Sampling(1, repetition_penalty=2.0)], 3, [1], [0])(said, scores)
        assert made[0].tolist() == [0.0, 1.0, -2.0, 3.0, 0.0, 4.0, 0.0, 0.0, 0.0, -2.0]

    def test_a_caption_does_not_end_before_its_least_length(self):
        import torch

        from nucleus_data.engines.draw import Draw

        scores = torch.tensor([[9.0, 1.0]])
        draw = Draw([Sampling(8, min_tokens=2)], 1, [1], [0])
        assert draw(torch.tensor([[1, 1]]), scores).argmax() == 1
        assert draw(torch.tensor([[1, 1, 1]]), scores).argmax() == 0


LETTERS = " abcdefgh."


@needs_torch
@pytest.mark.parametrize(
    ("said", "sampling", "expected"),
    [
        ("ab cd", Sampling(9), ("ab cd", "length", 5)),
        ("ab$ cd", Sampling(9), ("ab", "stop", 3)),
        ("ab. cd", Sampling(9, stop=(".",)), ("ab", "stop", 3, True)),
        ("ab. cd$", Sampling(9, stop=("d", ".")), ("ab", "stop", 3, True)),
        ("ab. cd. e", Sampling(9, stop=(".",), min_tokens=4), ("ab. cd", "stop", 7, True)),
        ("ab cd$", Sampling(9, stop=("x",)), ("ab cd", "stop", 6)),
    ],
)
def test_where_a_caption_ends(said, sampling, expected):
    from nucleus_data.engines.draw import cut

    ids = [99 if letter == "$" else LETTERS.index(letter) for letter in said]
    found = cut(ids, sampling, [99], lambda ids: "".join(LETTERS[i] for i in ids))
    assert found == (*expected, False)[:4]
