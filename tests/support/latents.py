"""Encoded values beside a made-up set, of numbers that no model made: for verify, takedown and gc.

latents, texts = add_encoded(folder)     # config hashes; two files of text states
"""

import numpy as np

from nucleus_data.hashing import config_hash
from nucleus_data.sets.encoded import (
    ENCODED,
    Value,
    encode_values,
    encoded_name,
    part_name,
    part_of,
    text_key,
    texts_folder,
    write_marker,
)
from tests.support.sets import EDITION

PARTS = 2
WIDTH = 3


def latents_about(resolution=64, **changes):
    """What latents say of themselves: 8 pixels are one, in 3 channels."""
    about = {"kind": "latents", "version": 1, "codec": "pixels", "factor": 8}
    return {**about, "resolution": resolution, "dtype": "fp32", **changes}


def texts_about(edition=EDITION, **changes):
    """What text states say of themselves."""
    return {
        "kind": "texts",
        "version": 2,
        "model": "x",
        "edition": edition,
        "dtype": "fp32",
    } | changes


def numbers(key, count):
    """So many numbers that follow from a key."""
    return np.random.default_rng(list(key)).standard_normal(count).astype("<f4").tobytes()


def latent(ident, entry):
    """A sample's latent."""
    height, width = entry.height // 8, entry.width // 8
    return Value(numbers(bytes.fromhex(ident), 3 * height * width), (1, 3, height, width))


def states(text):
    """A text's states; texts that end with 0 were cut."""
    length = 2 + len(text) % 3
    return Value(numbers(text_key(text), length * WIDTH), (length, WIDTH), cut=text.endswith("0"))


def add_encoded(made, edition=EDITION):
    """Writes latents and text states of a whole set of one resolution; returns their hashes."""
    latents, texts = latents_about(), texts_about(edition)
    hashes = config_hash(latents), config_hash(texts)
    for entry in made.manifest():
        ids = made.index(entry.path)["id"].to_pylist()
        values = {bytes.fromhex(ident): latent(ident, entry) for ident in ids}
        row = (3, entry.height // 8, entry.width // 8)
        name = made.name(encoded_name(hashes[0], entry.path))
        made.store.create(name, encode_values(values, row, "fp32"))
    said = {"", *captions_of(made, edition)}
    for part in range(PARTS):
        mine = {k: states(t) for t in said if part_of(k := text_key(t), PARTS) == part}
        name = made.name(f"{texts_folder(hashes[1])}/{part_name(part)}")
        made.store.create(name, encode_values(mine, (WIDTH,), "fp32", texts=True))
    write_marker(made.store, made.name(f"{ENCODED}/{hashes[0]}"), latents)
    write_marker(made.store, made.name(texts_folder(hashes[1])), {**texts, "parts": PARTS})
    return hashes


def captions_of(made, edition=EDITION):
    """All captions of an edition, each once."""
    found = made.new_edition(edition)
    rows = [found.captions(tar.path)["captions"].to_pylist() for tar in made.manifest()]
    return {text for tar in rows for texts in tar for text in texts}
