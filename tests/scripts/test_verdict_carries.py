"""How far a verdict carries, in small: runs are files, and what was killed goes on."""

import pytest

from scripts.cases import carrying
from scripts.verdict_carries import QUICK, carries, planned


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_runs_that_are_there_are_not_done_again(tmp_path, monkeypatch):
    found = carries(tmp_path, QUICK, workers=1)
    assert [each.measure for each in found] == list(carrying.MEASURES)
    assert all(each.pairs == 3 for each in found)
    whole = (tmp_path / "carries.json").read_bytes()
    runs = planned(tmp_path, QUICK)
    assert len(runs) == 12
    # As a kill between training and measuring leaves it.
    (runs[3].out / carrying.LOSSES).unlink()
    trained = []
    kept = carrying.quick_train

    def noting(folder, out, *rest):
        trained.append(out.name)
        return kept(folder, out, *rest)

    monkeypatch.setattr(carrying, "quick_train", noting)
    carries(tmp_path, QUICK, workers=1)
    assert trained == [runs[3].out.name]
    assert (tmp_path / "carries.json").read_bytes() == whole
