from pathlib import Path

import numpy as np
import pytest

from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.store import Store
from nucleus_data.sets.encoded import Value, encode_values, part_of, text_key
from nucleus_data.sets.encoded_file import EncodedFile

NAME = "0.safetensors"


def values():
    """Three values of different lengths, of rows of 2 x 3 numbers."""
    found = {}
    for number, length in ((7, 1), (3, 4), (5, 0)):
        data = np.arange(length * 6, dtype="<f4") + number
        found[bytes([number] * 16)] = Value(data.tobytes(), (length, 2, 3), number == 3)
    return found


@pytest.fixture
def store(tmp_path):
    made = Store(str(tmp_path))
    made.create(NAME, encode_values(values(), (2, 3), "fp32"))
    return made


def file_of(store):
    return Path(store.path(NAME))


def test_values_come_back_by_key(store):
    file = EncodedFile(store, NAME, "fp32")
    assert {key: file.get(key) for key in values()} == values()
    assert file.get(bytes(16)) is None


def test_the_same_values_are_the_same_bytes_in_any_order():
    turned = dict(reversed(values().items()))
    assert encode_values(turned, (2, 3), "fp32") == encode_values(values(), (2, 3), "fp32")


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_safetensors_reads_it(dtype):
    from safetensors.torch import load

    width = 4 if dtype == "fp32" else 2
    made = {bytes([n] * 16): Value(bytes([0, 60] * (3 * width)), (2, 3)) for n in (1, 2)}
    found = load(encode_values(made, (3,), dtype))
    assert found["values"].shape == (4, 3)
    assert found["values"].element_size() == width
    assert found["keys"].tolist() == [[1] * 16, [2] * 16]
    assert found["starts"].tolist() == [0, 2, 4]


def test_a_file_without_values(tmp_path):
    store = Store(str(tmp_path))
    store.create(NAME, encode_values({}, (2, 3), "bf16"))
    assert EncodedFile(store, NAME, "bf16").get(bytes(16)) is None


def test_no_changed_byte_gives_another_value(store):
    """It is an error, or costs a value; never is a wrong one returned."""
    whole = store.read(NAME)
    for at in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[at] ^= 0x11
        file_of(store).write_bytes(changed)
        lost = 0
        try:
            file = EncodedFile(store, NAME, "fp32")
        except DamagedError:
            continue
        for key, value in values().items():
            try:
                found = file.get(key)
            except DamagedError:
                found = None
            lost += found is None
            # Whoever reads it knows the shape.
            assert found is None or (found.data, found.cut) == (value.data, value.cut)
        assert lost <= 2


def test_a_file_that_ends_early_or_is_of_another_type(store):
    with pytest.raises(DamagedError, match="F32, not BF16"):
        EncodedFile(store, NAME, "bf16")
    store.put(NAME, store.read(NAME)[:-1])
    with pytest.raises(DamagedError, match="ends too early"):
        EncodedFile(store, NAME, "fp32")
    store.put(NAME, b"")
    with pytest.raises(DamagedError, match="header"):
        EncodedFile(store, NAME, "fp32")
    with pytest.raises(FileNotFoundError):
        EncodedFile(store, "no.safetensors", "fp32")


def test_a_text_has_one_part():
    assert len(text_key("")) == 16
    assert {part_of(text_key(str(n)), 3) for n in range(20)} == {0, 1, 2}
