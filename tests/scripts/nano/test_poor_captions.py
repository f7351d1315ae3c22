import numpy as np
import pytest
from PIL import Image

from scripts.nano.poor_captions import POOR, TRUE, Captioned, captioned, poor_figures


class Oracle:
    """Cosines as the texts say them."""

    def images(self, images):
        return np.ones((len(images), 1), np.float32)

    def texts(self, texts):
        return np.array([[float(text)] for text in texts], np.float32)


def test_rejected_pictures_count_among_all_alone():
    image = Image.new("RGB", (8, 8))
    rows = [Captioned(image, kind, "0.9", False) for kind in TRUE]
    rows += [Captioned(image, kind, "0.1", False) for kind in POOR]
    figures = poor_figures(Oracle(), [*rows, Captioned(image, "good", "0.0", True)])
    assert figures["auc_poor"] == pytest.approx(0.75)
    assert figures["auc_poor_kept"] == 1


def test_kinds_are_told_apart_in_the_figures():
    image = Image.new("RGB", (8, 8))
    rows = [Captioned(image, kind, "0.9", False) for kind in TRUE]
    rows += [Captioned(image, kind, "1" if kind == "generic" else "0", False) for kind in POOR]
    figures = poor_figures(Oracle(), rows)
    assert figures["auc_poor_generic"] == 0
    assert figures["auc_poor_partly_wrong"] == figures["auc_poor_file_name"] == 1
    assert figures["auc_true_terse"] == figures["auc_poor"] == pytest.approx(0.75)


@pytest.mark.slow
def test_the_rows_are_those_of_the_demo():
    rows = captioned(12, 5, "core")
    assert {row.kind for row in rows} <= set(TRUE + POOR)
    assert all(row.text.strip() for row in rows)
    assert any(row.rejected for row in rows)
    assert not all(row.rejected for row in rows)
