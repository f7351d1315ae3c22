import numpy as np

from nucleus_data.views.caption_pairs import shuffled_pairs
from nucleus_data.views.stored_vectors import stored_model
from tests.support import curated
from tests.support.vectors import subjects, vector_corpus, write_pairs


def pairs_of(made, copies):
    run = curated.run(made.corpus.uri, "calibrate", dry_run=True)
    model = stored_model(run.run, run.stages["embed"], "main")
    return shuffled_pairs(run.run, model, copies, most=1000, seed=0)


def test_copies_are_in_one_half_and_no_mismatches_of_each_other(tmp_path):
    made = vector_corpus(tmp_path, *subjects(200))
    alone = pairs_of(made, None)
    assert alone.about["left_out"] == {"copies": 0, "same_caption": 0, "same_picture": 0}
    assert alone.matched.sum() == (~alone.matched).sum() == 200
    ids = made.ids
    links = [(ids[n], ids[n + 1]) for n in range(199) if (n + 1) % 20]  # ten clusters of 20
    found = pairs_of(made, write_pairs(made.corpus, *links))
    for half in (False, True):
        assert (found.matched & (found.held_out == half)).sum() % 20 == 0
    left_out = found.about["left_out"]["copies"]
    assert left_out > 5
    assert (~found.matched).sum() == 200 - left_out
    assert np.array_equal(found.own, found.matched)


def test_a_mismatch_is_a_picture_with_the_caption_of_another_of_its_half(tmp_path):
    images, texts = subjects(60)
    made = vector_corpus(tmp_path, images, texts)
    found = pairs_of(made, None)
    cosines = np.float16(images).astype(float) @ np.float16(texts).astype(float).T
    assert np.allclose(np.sort(found.raw[found.matched]), np.sort(np.diag(cosines)), atol=1e-3)
    others = cosines[~np.eye(60, dtype=bool)]
    for raw in found.raw[~found.matched]:
        assert np.abs(others - raw).min() < 1e-3
