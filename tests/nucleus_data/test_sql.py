"""Texts and names stay what they are inside SQL."""

import duckdb
import pytest

from nucleus_data.sql import identifier, literal

ODD = ["plain", "it's", '"quoted"', "a'; DROP TABLE x; --", "", "\\", "\n", "\N{SNOWMAN}", "''"]


@pytest.mark.parametrize("text", ODD)
def test_a_literal_is_its_text(text):
    assert duckdb.sql(f"SELECT {literal(text)}").fetchall() == [(text,)]


@pytest.mark.parametrize("name", [name for name in ODD if name])
def test_an_identifier_is_its_name(name):
    assert duckdb.sql(f"SELECT 1 AS {identifier(name)}").columns == [name]
