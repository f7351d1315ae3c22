"""Latents and text states are verified as the set is: each changed byte is found, by sample."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.printed import counted
from nucleus_data.sets.encoded import (
    MARKER,
    Value,
    encode_values,
    encoded_name,
    part_name,
    part_of,
    text_key,
    texts_folder,
)
from nucleus_data.sets.encoded_file import EncodedFile
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.upkeep import caption_keys
from nucleus_data.stages.upkeep.caption_keys import by_key, keys_of
from nucleus_data.stages.upkeep.encoded_check import (
    check_latents,
    check_markers,
    check_texts,
    is_finite,
    right_encodings,
)
from nucleus_data.stages.upkeep.faults import table
from nucleus_data.stages.upkeep.verify import verify
from tests.support import curated
from tests.support.latents import PARTS, WIDTH, add_encoded, captions_of, latent, states
from tests.support.quick import quick
from tests.support.sets import EDITION
from tests.support.upkept import PATH, corpus_with_set, ident


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A corpus whose set is encoded."""
    folder = tmp_path_factory.mktemp("encoded")
    _, made = corpus_with_set(folder)
    return folder / "c", add_encoded(made)


@pytest.fixture
def made(original, tmp_path):
    """A copy of the set, to damage."""
    uri = shutil.copytree(original[0], tmp_path / "c")
    return SetFolder(Corpus(str(uri)).store, PATH), *original[1]


def found_in(folder):
    """What is wrong with everything that is encoded."""
    faults = [*check_markers(folder)]
    for entry in folder.manifest():
        faults += check_latents(folder, entry, folder.index(entry.path), [])
    for one, about in right_encodings(folder, texts=True):
        keys = keys_of(folder, about["edition"], folder.manifest())
        for part in range(about["parts"]):
            mine = [part_of(key, about["parts"]) == part for key in keys["key"].to_pylist()]
            said = by_key(keys.filter(pa.array(mine, pa.bool_())))
            faults += check_texts(folder, one, part, said)
    return faults


def changed(folder, file, at):
    path = Path(folder.url(file))
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("every", quick((12, 150), 1))
def test_a_flipped_byte_anywhere_is_found_and_the_sample_is_named(made, every):
    folder, latents, texts = made
    assert found_in(folder) == []
    ids = set(folder.index("64/1x1/000001.tar")["id"].to_pylist())
    for file, some in (
        (encoded_name(latents, "64/1x1/000001.tar"), ids),
        (f"{texts_folder(texts)}/{part_name(1)}", {ident(s, r) for s in (0, 1) for r in range(5)}),
    ):
        path = Path(folder.url(file))
        whole = path.read_bytes()
        head = 8 + int.from_bytes(whole[:8], "little")
        starts = head + 8 * (len(EncodedFile(folder.store, folder.name(file))) + 1)
        for at in range(0, len(whole), max(1, len(whole) // every)):
            changed(folder, file, at)
            faults = found_in(folder)
            assert faults, at
            assert {fault.path for fault in faults} == {file}
            # Behind the header and the starts, each byte is a value's; the empty text is nobody's.
            if at >= starts:
                assert {fault.sample for fault in faults} & some, (at, faults)
            path.write_bytes(whole)


def test_states_that_are_damaged_name_a_sample_that_has_the_text(made):
    folder, _, texts = made
    for part in (0, 1):
        file = f"{texts_folder(texts)}/{part_name(part)}"
        size = len(Path(folder.url(file)).read_bytes())
        # In the last bytes is whether the last text was cut; before it, the last of the values.
        changed(folder, file, size - 1)
        (fault,) = found_in(folder)
        assert fault.sample in folder.index("64/1x1/000000.tar")["id"].to_pylist() or fault.sample
        assert "its value was changed" in fault.detail
        changed(folder, file, size - 1)


def test_a_marker_that_does_not_make_its_hash_or_was_written_otherwise(made):
    folder, latents, texts = made
    for file in (f"encoded/{latents}/{MARKER}", f"{texts_folder(texts)}/{MARKER}"):
        whole = Path(folder.url(file)).read_bytes()
        for at in range(0, len(whole), 29):
            changed(folder, file, at)
            faults = found_in(folder)
            # A number of files that is another one: files are missing, or keys are elsewhere.
            assert faults, (file, at)
            Path(folder.url(file)).write_bytes(whole)


def test_what_is_missing_cut_short_or_of_other_samples(made):
    folder, latents, texts = made
    names = [encoded_name(latents, entry.path) for entry in folder.manifest()]
    one, two, three = (Path(folder.url(name)) for name in names)
    one.write_bytes(two.read_bytes())
    two.unlink()
    three.write_bytes(three.read_bytes()[:-1])
    Path(folder.url(f"{texts_folder(texts)}/{part_name(0)}")).unlink()
    told = [(fault.sample, fault.detail) for fault in found_in(folder)]
    mine, other = (folder.index(f"64/1x1/00000{n}.tar")["id"].to_pylist() for n in (0, 1))
    assert {i for i, d in told if d == "it has no latent"} == set(mine)
    assert {i for i, d in told if d == "it belongs to no sample of the tar"} == set(other)
    assert ("", "it is missing (4 samples)") in told
    assert ("", "it is missing (text states)") in told
    assert any("ends too early (2 samples)" in detail for _, detail in told)


def test_a_picture_that_cannot_be_encoded_lacks_its_latent_rightly(made):
    folder, latents, _ = made
    entry = folder.manifest()[0]
    index = folder.index(entry.path)
    ids = index["id"].to_pylist()
    values = {bytes.fromhex(i): latent(i, entry) for i in ids[1:]}
    name = folder.name(encoded_name(latents, entry.path))
    folder.store.put(name, encode_values(values, (3, 8, 8), "fp32"))
    assert [f.sample for f in check_latents(folder, entry, index, [])] == ids[:1]
    assert list(check_latents(folder, entry, index, ids[:1])) == []


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_numbers_that_are_none(dtype):
    kind = {"fp32": "<f4", "fp16": "<f2", "bf16": "<f4"}[dtype]
    for number in (3e4, -0.0, 1e-40, np.inf, -np.inf, np.nan):
        data = np.array([1, number, -2], kind)
        if dtype == "bf16":
            data = data.view("<u4") >> 16
            data = data.astype("<u2")
        assert is_finite(data.tobytes(), dtype) is bool(np.isfinite(number))


def test_an_infinite_number_and_another_size_are_told(made):
    folder, latents, _ = made
    entry = folder.manifest()[0]
    ids = folder.index(entry.path)["id"].to_pylist()
    values = {bytes.fromhex(i): latent(i, entry) for i in ids}
    values[bytes.fromhex(ids[2])] = Value(np.full(192, np.inf, "<f4").tobytes(), (1, 3, 8, 8))
    name = folder.name(encoded_name(latents, entry.path))
    folder.store.put(name, encode_values(values, (3, 8, 8), "fp32"))
    (fault,) = found_in(folder)
    assert (fault.sample, fault.path) == (ids[2], encoded_name(latents, entry.path))
    assert "infinite" in fault.detail
    small = {key: Value(bytes(12 * 16), (1, 3, 4, 4)) for key in values}
    folder.store.put(name, encode_values(small, (3, 4, 4), "fp32"))
    (fault,) = found_in(folder)
    assert fault.detail == "latents are (3, 4, 4), not for 64 x 64"


def test_the_command_finds_it_too(made):
    folder, latents, texts = made
    run = curated.run(folder.store.uri, "verify")
    assert verify(run, folder, {}, None, decode=False) == []
    changed(folder, encoded_name(latents, "64/1x1/000000.tar"), 2000)
    changed(folder, f"{texts_folder(texts)}/{part_name(0)}", 700)
    kinds = {(fault.kind, fault.path) for fault in verify(run, folder, {}, None, decode=False)}
    assert kinds == {
        ("encoded", encoded_name(latents, "64/1x1/000000.tar")),
        ("encoded", f"{texts_folder(texts)}/{part_name(0)}"),
    }


def without(folder, texts, lost):
    """Writes the text states again without one text's; returns their file."""
    left = {"", *captions_of(folder)} - {lost}
    part = part_of(text_key(lost), PARTS)
    mine = {k: states(t) for t in left if part_of(k := text_key(t), PARTS) == part}
    file = f"{texts_folder(texts)}/{part_name(part)}"
    data = encode_values(mine, (WIDTH,), "fp32", texts=True)
    folder.store.put(folder.name(file), data)
    return file


@pytest.mark.slow
def test_each_sample_whose_caption_has_no_states_is_told(made):
    folder, _, texts = made
    samples = {}
    for entry in folder.manifest():
        for row in folder.edition().captions(entry.path).to_pylist():
            for text in row["captions"]:
                samples.setdefault(text, set()).add(row["id"])
    lost = max(sorted(samples), key=lambda text: len(samples[text]))
    part = part_name(part_of(text_key(lost), PARTS))
    whole = folder.store.read(folder.name(f"{texts_folder(texts)}/{part}"))
    file = without(folder, texts, lost)
    run = curated.run(folder.store.uri, "verify")
    faults = verify(run, folder, {}, None, decode=False)
    assert {fault.sample for fault in faults} == samples[lost]
    assert {(fault.kind, fault.path, fault.detail) for fault in faults} == {
        ("encoded", file, f"its caption has no text states (text {text_key(lost).hex()})")
    }
    shown = "\n".join(table(faults))
    some = counted(len(samples[lost]), "sample")
    assert f"encoded: {len(faults)}, {some}. What to do: remove" in shown
    # The notes are gone: with the states there again, nothing is left.
    assert folder.store.find("verify") == []
    folder.store.put(folder.name(file), whole)
    assert verify(run, folder, {}, None, decode=False) == []


def test_the_empty_text_is_missed_too(made):
    folder, _, texts = made
    file = without(folder, texts, "")
    (fault,) = found_in(folder)
    assert (fault.path, fault.sample) == (file, "")
    assert "the empty text" in fault.detail


def test_a_set_is_verified_by_groups_of_tars(made, monkeypatch):
    folder, _, texts = made
    expected = keys_of(folder, EDITION, folder.manifest())
    monkeypatch.setattr(caption_keys, "TARS_A_GROUP", 1)
    groups = caption_keys.groups_of(folder)
    assert groups == len(folder.manifest()) > 1
    place = (folder.store.uri, {}, folder.path, "notes")
    for group in (*range(groups), 0):
        caption_keys.CaptionKeysTask(*place, ((texts, PARTS),)).run(group)
    found = {}
    for part in range(PARTS):
        found |= caption_keys.said_in(folder, "notes", texts, (part, PARTS), groups)
    assert found == by_key(expected)
    assert sum(map(len, found.values())) == len(expected)
