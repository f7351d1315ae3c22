"""Published heads against torch networks of the same shape, made here with random weights."""

import pickle

import numpy as np
import pytest

from nucleus_data.commands.import_head import STYLES as NAMED
from nucleus_data.engines.heads import load_heads
from nucleus_data.engines.published_heads import STYLES, head_of, read_state
from nucleus_data.errors import RequestError
from tests.support.command import nucleus
from tests.support.embedded import model_folder

torch = pytest.importorskip("torch")
nn = torch.nn


class Laion(nn.Module):
    """Linear layers with dropout between some, and an activation if there is one."""

    def __init__(self, width, between=()):
        super().__init__()
        parts = []
        sizes = (1024, 128, 64, 16)
        for size, last in zip(sizes, (width, *sizes), strict=False):
            parts += [nn.Linear(last, size)]
            parts += [*between, nn.Dropout(0.2)] if size != 16 else []
        self.layers = nn.Sequential(*parts, nn.Linear(16, 1))

    def forward(self, x):
        return self.layers(x)


class AestheticV25(nn.Module):
    def __init__(self, width):
        super().__init__()
        sizes = (width, 1024, 128, 64, 16)
        parts = []
        for size, last in zip(sizes[1:], sizes, strict=False):
            parts += [nn.Linear(last, size), nn.Dropout(0.5)]
        self.scoring_head = nn.Sequential(*parts, nn.Linear(16, 1))

    def forward(self, x):
        return self.scoring_head(x)


class Standardised(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("mean", torch.randn(width) / 10)
        self.register_buffer("variance", torch.rand(width) + 0.01)

    def forward(self, x):
        return (x - self.mean) / self.variance.sqrt()


class Unsafe(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = Standardised(width)
        self.linear_1, self.linear_2 = nn.Linear(width, 64), nn.Linear(64, 512)
        self.linear_3, self.linear_4 = nn.Linear(512, 256), nn.Linear(256, 1)

    def forward(self, x):
        x = self.norm(x)
        for layer in (self.linear_1, self.linear_2, self.linear_3):
            x = layer(x).relu()
        return self.linear_4(x).sigmoid()


class UnsafeH14(nn.Module):
    def __init__(self, width):
        super().__init__()
        parts = []
        sizes = (width, 1024, 2048, 1024, 256, 128)
        for size, last in zip(sizes[1:], sizes, strict=False):
            parts += [nn.Linear(last, size), nn.ReLU(), nn.Dropout(0.2)]
        self.layers = nn.Sequential(*parts, nn.Linear(128, 16), nn.Linear(16, 1))

    def forward(self, x):
        return self.layers(x)


NETWORKS = {
    "laion_aesthetic": Laion,
    "laion_aesthetic_relu": lambda width: Laion(width, (nn.ReLU(),)),
    "aesthetic_v2_5": AestheticV25,
    "clip_nsfw": Unsafe,
    "clip_nsfw_h14": UnsafeH14,
}


def made(style, width=24):
    torch.manual_seed(0)
    return NETWORKS[style](width).eval()


def vectors(width=24):
    found = np.random.default_rng(1).standard_normal((7, width)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_command_knows_every_style():
    assert set(NAMED) == set(STYLES) == set(NETWORKS)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_published_state_dict_scores_as_its_network(tmp_path, style, prefix):
    network = made(style)
    state = {prefix + name: value for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "published.pth")
    head = head_of(read_state(tmp_path / "published.pth"), style)
    with torch.no_grad():
        expected = network(torch.from_numpy(vectors()))[:, 0].numpy()
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(head.score(vectors()), expected, atol=1e-5)


def test_a_head_is_imported_beside_others_and_used(tmp_path):
    revision = model_folder(tmp_path / "clip")
    out = tmp_path / "heads"
    for style, name in (("laion_aesthetic", "aesthetic"), ("clip_nsfw", "unsafe")):
        torch.save(made(style).state_dict(), tmp_path / f"{style}.pth")
        said = nucleus(
            "import-head",
            f"{tmp_path}/{style}.pth",
            *("--style", style, "--name", name),
            *("--model", f"{tmp_path}/clip", "--out", str(out)),
        )
        assert f"score.heads={out}" in said
    heads = load_heads(out)
    assert heads.revision == revision
    scores = heads.scores(vectors())
    with torch.no_grad():
        expected = made("clip_nsfw")(torch.from_numpy(vectors()))[:, 0].numpy()
    np.testing.assert_allclose(scores["unsafe"], expected, atol=1e-5)
    assert (out / "heads.safetensors").stat().st_mode & 0o777 == (
        (out / "heads.json").stat().st_mode & 0o777
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "a b"), "'a b' can't be the name of a head, which becomes a column"),
        (("--style", "aesthetic_v2_5", "--name", "b"), None),
        (("--name", "a"), "already has a head 'a'"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, options, message):
    model_folder(tmp_path / "clip")
    torch.save(made("laion_aesthetic").state_dict(), tmp_path / "one.pth")
    common = ("--model", f"{tmp_path}/clip", "--out", f"{tmp_path}/heads")
    first = ("--style", "laion_aesthetic")
    nucleus("import-head", f"{tmp_path}/one.pth", *first, "--name", "a", *common)
    code = 0 if message is None else 2
    said = nucleus("import-head", f"{tmp_path}/one.pth", *first, *options, *common, code=code)
    assert message is None or message in said


def test_heads_on_other_embeddings_are_not_mixed(tmp_path):
    model_folder(tmp_path / "clip")
    out = ("--out", f"{tmp_path}/heads", "--style", "laion_aesthetic")
    for width in (24, 25):
        torch.save(made("laion_aesthetic", width).state_dict(), tmp_path / f"{width}.pth")
    model = ("--model", f"{tmp_path}/clip")
    nucleus("import-head", f"{tmp_path}/24.pth", *out, *model, "--name", "a")
    said = nucleus("import-head", f"{tmp_path}/25.pth", *out, *model, "--name", "b", code=2)
    assert "heads for vectors of 24 numbers, but this one takes 25" in said
    said = nucleus(
        "import-head", f"{tmp_path}/24.pth", *out, "--model", "nano", "--name", "b", code=2
    )
    assert "their scores would be meaningless" in said


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize("kind", ["pickle", "torch", "text", "empty"])
def test_nothing_but_tensors_is_read(tmp_path, capsys, kind):
    file = tmp_path / "head.pth"
    if kind == "pickle":
        file.write_bytes(pickle.dumps({"layers.0.weight": Evil()}))
    elif kind == "torch":
        torch.save({"layers.0.weight": Evil()}, file)
    else:
        file.write_text("weights" if kind == "text" else "")
    with pytest.raises(RequestError, match="is not a state dict"):
        read_state(file)
    assert "ran" not in capsys.readouterr().out


def layer(outputs, inputs, value=1.0):
    return {
        "weight": np.full((outputs, inputs), value, np.float32),
        "bias": np.zeros(outputs, np.float32),
    }


def state(*layers):
    return {f"layers.{i}.{k}": v for i, one in enumerate(layers) for k, v in one.items()}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (state(layer(3, 4), layer(1, 2)), "a layer with 3 outputs precedes one with 2 inputs"),
        (state(layer(3, 4)), "the last layer has 3 outputs, not one"),
        (state(layer(1, 4, np.nan)), "not finite numbers"),
        ({}, "0 layers"),
        ({**state(layer(1, 4)), "scale": np.ones(1)}, "'scale' is unknown"),
        ({"layers.0.weight": np.ones((1, 4))}, "'layers.0.bias' is missing"),
    ],
)
def test_tensors_that_are_no_head_are_refused(found, message):
    with pytest.raises(RequestError, match=message):
        head_of(found, "laion_aesthetic")


def test_layers_are_in_the_order_of_their_numbers():
    """`layers.10` comes after `layers.2`, whatever the order in the file."""
    parts = {2: layer(3, 4), 10: layer(1, 3)}
    found = {f"layers.{i}.{k}": v for i in (10, 2) for k, v in parts[i].items()}
    head = head_of(found, "laion_aesthetic")
    assert [one.weight.shape for one in head.layers] == [(3, 4), (1, 3)]
