import numpy as np
import pytest

from nucleus_data.engines.find import ModelReference
from nucleus_data.engines.heads import BLOCK, load_heads
from nucleus_data.errors import RequestError
from tests.support.embedded import heads_folder


@pytest.mark.slow
def test_heads_are_the_torch_network(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = heads_folder(tmp_path)
    vectors = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
    scores = load_heads(tmp_path).scores(vectors)
    for name in ("a", "b"):
        net = torch.nn.Sequential(
            torch.nn.Linear(4, 3), torch.nn.GELU("tanh"), torch.nn.Linear(3, 1)
        )
        own = {
            k.removeprefix(f"{name}."): torch.from_numpy(v)
            for k, v in tensors.items()
            if k[0] == name
        }
        net.load_state_dict(own)
        with torch.no_grad():
            out = net(torch.from_numpy(vectors))[:, 0]
        expected = out if name == "a" else out.sigmoid()
        np.testing.assert_allclose(scores[name], expected.numpy(), atol=1e-5)


def test_heads_refuse_other_embeddings(tmp_path):
    heads_folder(tmp_path)
    with pytest.raises(ValueError, match=r"needs embeddings of shape \(N, 4\), got \(2, 5\)"):
        load_heads(tmp_path).scores(np.zeros((2, 5), np.float32))


def test_heads_of_another_model_are_refused(tmp_path):
    heads_folder(tmp_path, revision="0123456789ab")
    heads = load_heads(tmp_path)
    heads.check(ModelReference("nano", "", "0123456789ab", local=True))
    with pytest.raises(RequestError, match=r"revision '0123456789ab'.*revision 'ffff'"):
        heads.check(ModelReference("nano", "", "ffff", local=True))


@pytest.mark.parametrize("width", [4, 192])
def test_a_score_does_not_depend_on_its_company(tmp_path, width):
    heads_folder(tmp_path, width)
    heads = load_heads(tmp_path)
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((BLOCK + 41, width)).astype(np.float32)
    together = heads.scores(vectors)
    order = rng.permutation(len(vectors))
    moved = heads.scores(vectors[order])
    alone = [heads.scores(vectors[i : i + 1]) for i in range(0, len(vectors), 29)]
    for name, scores in together.items():
        assert (scores[order] == moved[name]).all()
        assert [one[name][0] for one in alone] == scores[::29].tolist()
