import ast
import dataclasses
import importlib.util
from pathlib import Path

import pytest

from nucleus_data.engines.vllm_arguments import CHANGES_TEXT, KEEPS_TEXT, changing_text

VLLM = importlib.util.find_spec("vllm")


@pytest.mark.skipif(VLLM is None, reason="vllm is not installed")
def test_each_argument_of_the_installed_vllm_is_in_one_table():
    """Read from the source, as vLLM takes seconds to import."""
    source = Path(VLLM.origin).parent / "engine/arg_utils.py"
    (found,) = (
        node
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "EngineArgs"
    )
    names = {node.target.id for node in found.body if isinstance(node, ast.AnnAssign)}
    assert len(names) > 100
    assert names - KEEPS_TEXT - CHANGES_TEXT == set(), "add it to one of the tables"


@pytest.mark.slow
@pytest.mark.skipif(VLLM is None, reason="vllm is not installed")
@pytest.mark.filterwarnings("ignore")
def test_the_source_has_all_arguments():
    from vllm import EngineArgs

    names = {field.name for field in dataclasses.fields(EngineArgs)}
    assert names - KEEPS_TEXT - CHANGES_TEXT == set()


def test_no_argument_is_in_both():
    assert KEEPS_TEXT.isdisjoint(CHANGES_TEXT)


def test_what_is_not_known_is_taken_to_change_text():
    given = {"quantization": "fp8", "max_num_batched_tokens": 4096, "hf_token": "x", "new": 1}
    assert changing_text(given) == {"quantization": "fp8", "new": 1}
