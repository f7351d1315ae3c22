import pyarrow as pa
import pytest
from pydantic import BaseModel

from nucleus_data.corpus import RECORDS_HASH
from nucleus_data.errors import RequestError
from nucleus_data.runner.pins import SET, Pins
from nucleus_data.stage import RowStage, TableSpec


class NoSettings(BaseModel):
    """A stage of a test has none."""


def stage(*specs, reads=False):
    class Made(RowStage[NoSettings]):
        name, help, Settings, readable = "made", "Made.", NoSettings, reads

        def tables(self):
            return list(specs)

        def process(self, rows):
            yield from ()

    return Made(NoSettings())


def spec(name, *signals, version=1, inputs=(), **settings):
    schema = pa.schema([(signal, pa.float32()) for signal in signals])
    return TableSpec(name, schema, version=version, settings=settings, inputs=inputs)


def hash_of(*specs):
    return Pins.of([stage(*specs)]).tables[specs[-1].name]


def test_records_are_always_pinned():
    assert Pins.of([]).tables == {"records": RECORDS_HASH}


def test_a_table_s_hash_follows_from_its_name_version_settings_and_inputs_alone():
    first = hash_of(spec("a", "x", sigma=2))
    assert hash_of(spec("a", "y", sigma=2)) == first  # the schema does not enter it
    others = [
        hash_of(spec("b", "x", sigma=2)),
        hash_of(spec("a", "x", sigma=2, version=2)),
        hash_of(spec("a", "x", sigma=3)),
        hash_of(spec("in", "z"), spec("a", "x", sigma=2, inputs=("in",))),
        hash_of(spec("in", "z", version=2), spec("a", "x", sigma=2, inputs=("in",))),
    ]
    assert len({first, *others}) == 6


def test_rules_read_what_is_readable_and_no_lists():
    vector = TableSpec("m", pa.schema([("v", pa.list_(pa.float32())), ("s", pa.int8())]), version=1)
    pins = Pins.of([stage(spec("i.a", "x"), vector, reads=True), stage(spec("c.b", "y"))])
    assert pins.signals() == {("i.a", "x"): pa.float32(), ("m", "s"): pa.int8()}
    assert pins.catalog() == {"x": "i.a", "s": "m"}
    assert pins.variants("c.") == ["b"]


def test_a_signal_of_two_tables_is_refused():
    pins = Pins.of([stage(spec("a", "x"), spec("b", "x"), reads=True)])
    with pytest.raises(RequestError, match="'x' is used in a and in b; rename one"):
        pins.catalog()


def test_what_stages_find_is_added_and_a_set_is_no_table():
    first = Pins.of([])
    second = first.adding({"selection": "s", SET: "sets/train/1"})
    assert second.tables == {"records": RECORDS_HASH, "selection": "s"}
    assert second.training_set == "sets/train/1"
    assert second.adding({"dedup": "d"}).training_set == "sets/train/1"
    assert (dict(first.tables), first.training_set) == ({"records": RECORDS_HASH}, None)
