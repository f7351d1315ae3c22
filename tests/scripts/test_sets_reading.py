"""The peers that the loader is compared with: each is measured, or told and passed over."""

import pytest

from scripts.sets_reading import others
from scripts.sets_reading.peers import BATCH, rate

PYTHON = """#!/bin/sh
case "$6" in
  webdataset) echo noise; echo 12.5;;
  mds) echo no module >&2; exit 1;;
  litdata) exec sleep 20;;
esac
"""


def test_a_rate_goes_on_where_the_samples_end():
    assert rate([None] * 4, 0.0) > BATCH
    with pytest.raises(ValueError, match="1000 epochs have 0 batches"):
        rate([], 0.0)


def test_a_peer_that_fails_or_hangs_costs_itself_alone(tmp_path, monkeypatch, capsys):
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    monkeypatch.setattr(others, "PEER_S", 0.3)
    found = others.peers(str(python), tmp_path, 2, 64, 0.01)
    assert found == {"webdataset": 12.5}
    said = capsys.readouterr().err.splitlines()
    assert said == ["mds: not measured: no module", "litdata: not measured, it took too long"]
