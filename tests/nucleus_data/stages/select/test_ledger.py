import pyarrow as pa
import pytest

from nucleus_data.corpus.tables import table_schema
from nucleus_data.errors import CorpusError
from nucleus_data.stages.select.decide import DECISION_SCHEMA
from nucleus_data.stages.select.ledger import mark_duplicates

SELECTION = table_schema(DECISION_SCHEMA, error=False)


def test_the_walk_may_not_touch_what_the_rules_did_not_keep():
    keyed = {"shard": 0, "row": 0, "id": "a"}
    rules = pa.Table.from_pylist([{**keyed, "state": "rejected", "reasons": ["x"]}], SELECTION)
    survivors = pa.Table.from_pylist([{**keyed, "duplicate_of": "b"}])
    with pytest.raises(CorpusError, match="dropped a record that the rules had not kept"):
        mark_duplicates(rules, survivors)
