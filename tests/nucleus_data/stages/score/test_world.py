"""The nano model on the synthetic world: what is stored is worth what the model says by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from nucleus_data.engines.clip import load_clip
from nucleus_data.engines.heads import load_heads
from nucleus_data.world.corpora import small_corpus, write_shard
from nucleus_data.world.painting import render
from nucleus_data.world.rating import pleasantness
from nucleus_data.world.scenes import scene
from nucleus_data.world.words import captions
from scripts.nano.measuring import auc, rank_correlation
from tests.support import curated
from tests.support.scored import stored

HALF = 2e-3  # of a number near 1 in float16, four times
COUNT = 120


@pytest.mark.slow
def test_auc_and_rank_correlation_are_those_of_the_model_called_by_hand(tmp_path):
    pytest.importorskip("open_clip")
    scenes = [scene(7, index) for index in range(COUNT)]
    pictures = [render(facts, 128, 128) for facts in scenes]
    own = [captions(facts)["short"] for facts in scenes]
    # Every second caption is that of another picture.
    given = [own[(i + 2) % COUNT] if i % 2 else own[i] for i in range(COUNT)]
    corpus = small_corpus(tmp_path / "c", shards=0)
    files = {f"{i:03}.png": png(picture) for i, picture in enumerate(pictures)}
    write_shard(corpus, 0, files, dict(zip(files, given, strict=True)))
    curated.inspect(corpus)
    tags = "score.tags={flat: one red circle, night: two blue squares}"
    settings = ("select.rules={}", "select.drop_duplicates=false", tags)
    run = curated.run(corpus.uri, "score", *settings)
    run.do("select", "embed", "score")

    clip = load_clip("nano")
    images, texts = clip.images(pictures), clip.texts(given)
    cosines = (images * texts).sum(axis=1)
    rows = stored(run, "embed.match")
    found = np.array([rows[i]["caption_cosine"] for i in range(COUNT)])
    np.testing.assert_allclose(found, cosines, atol=HALF)
    wrong = np.arange(COUNT) % 2 == 1
    by_hand = auc(cosines[~wrong], cosines[wrong])
    assert abs(auc(found[~wrong], found[wrong]) - by_hand) <= HALF
    assert by_hand > 0.9

    rated = np.array([pleasantness(facts) for facts in scenes])
    scores = load_heads().scores(images)
    heads = stored(run, "embed.heads")
    for name, values in scores.items():
        column = np.array([heads[i][name] for i in range(COUNT)])
        np.testing.assert_allclose(column, values, atol=0.05)
    pleasant = np.array([heads[i]["pleasantness"] for i in range(COUNT)])
    by_hand = rank_correlation(scores["pleasantness"], rated)
    assert abs(rank_correlation(pleasant, rated) - by_hand) <= HALF
    assert by_hand > 0.5

    near = images @ clip.texts(["one red circle", "two blue squares"]).T
    tagged = stored(run, "embed.tags")
    column = np.array([[tagged[i]["tag_flat"], tagged[i]["tag_night"]] for i in range(COUNT)])
    np.testing.assert_allclose(column, near, atol=HALF)


def png(picture: Image.Image) -> bytes:
    """A picture as a file that every decoder reads alike."""
    sink = io.BytesIO()
    picture.save(sink, "PNG")
    return sink.getvalue()
