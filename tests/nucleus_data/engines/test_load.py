import importlib.util
import subprocess
import sys

import pytest

from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.load import load_engine
from nucleus_data.errors import RequestError


class TestLoading:
    def test_missing_vllm_is_said(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(RequestError, match="needs the package vllm"):
            load_engine(EngineSettings(engine="vllm"))
        with pytest.raises(RequestError, match="pip install"):
            load_engine(EngineSettings(engine="auto"))

    @pytest.mark.slow
    def test_nothing_heavy_is_imported_before_an_engine_is_loaded(self):
        code = (
            "import sys, nucleus_data.engines.load, nucleus_data.stages.caption.stage;"
            "print([m for m in ('torch', 'transformers', 'vllm') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"
