import io
import sys
import types

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pydantic import ValidationError

from nucleus_data.pixels import Limits, Picture
from nucleus_data.signals import SignalGroup
from nucleus_data.stage import Result, Row, RowFailure
from nucleus_data.stages.inspect.stage import Inspect, InspectSettings

NAMES = (
    "file",
    "tone",
    "detail",
    "hash",
    "colour",
    "sharpness",
    "compression",
    "layout",
    "resampling",
)
TABLES = {f"inspect.{name}" for name in NAMES}


def encode(file_format, size=(120, 80)):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)).resize(size)
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


def row(image, number=0, wanted=TABLES, file="x.jpg"):
    return Row(0, number, f"{number:032x}", file, image, {}, frozenset(wanted))


def inspect(*rows, **settings):
    stage = Inspect(InspectSettings(**settings))
    stage.setup()
    return list(stage.process(iter(rows)))


@pytest.fixture
def own_group(monkeypatch):
    """Registers `own_signals.module:group`, whose `measure` the test replaces."""
    behaviour = types.SimpleNamespace(measure=lambda _picture, _file: {"x": 1.0})
    module = types.ModuleType("own_signals.module")
    schema = pa.schema([("x", pa.float32())])
    module.group = SignalGroup("own", 4, schema, lambda p, f: behaviour.measure(p, f))
    monkeypatch.setitem(sys.modules, "own_signals", types.ModuleType("own_signals"))
    monkeypatch.setitem(sys.modules, "own_signals.module", module)
    return behaviour


def test_every_row_gets_every_table():
    rows = [row(encode("JPEG"), 0), row(encode("PNG"), 1)]
    results = inspect(*rows)
    assert [r.row for r in results] == rows
    stage = Inspect(InspectSettings())
    schemas = {spec.name: spec.schema for spec in stage.tables()}
    assert set(schemas) == TABLES
    for result in results:
        assert isinstance(result, Result)
        for table, values in result.values.items():
            pa.Table.from_pylist([values], schema=schemas[table])
            assert list(values) == schemas[table].names
    assert results[0].values["inspect.file"]["format"] == "jpeg"
    assert results[1].values["inspect.file"]["mislabelled"] is True


def test_only_wanted_groups_are_measured():
    (result,) = inspect(row(encode("PNG"), wanted={"inspect.hash"}))
    assert set(result.values) == {"inspect.hash"}


def test_values_do_not_depend_on_the_other_groups():
    data = encode("JPEG", (900, 700))
    (together,) = inspect(row(data))
    for name in reversed(NAMES):
        (alone,) = inspect(row(data), signals=(name,))
        assert alone.values[f"inspect.{name}"] == together.values[f"inspect.{name}"]


def test_one_decode_serves_all_groups(monkeypatch):
    calls = []
    view = Picture._views
    original = view.func
    monkeypatch.setattr(view, "func", lambda self: calls.append(1) or original(self))
    inspect(row(encode("JPEG")))
    assert calls == [1]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "empty"),
        (None, "empty"),
        (b"<html>not found</html>", "not_an_image"),
        (encode("JPEG")[:-200], "truncated"),
    ],
)
@pytest.mark.parametrize("wanted", [TABLES, {"inspect.file"}])
def test_an_unreadable_image_is_a_failed_row_whatever_is_wanted(image, reason, wanted):
    before, failed, after = inspect(
        row(encode("PNG"), 0), row(image, 1, wanted), row(encode("PNG"), 2)
    )
    assert isinstance(failed, RowFailure)
    assert (failed.row.row, failed.reason, failed.retryable) == (1, reason, False)
    assert type(failed.reason) is str
    assert isinstance(before, Result)
    assert isinstance(after, Result)


def test_limits_are_settings():
    data = encode("PNG")
    assert inspect(row(data), max_pixels=9599)[0].reason == "too_many_pixels"
    assert inspect(row(data), max_bytes=10)[0].reason == "too_many_bytes"
    assert inspect(row(data), max_aspect=1.4)[0].reason == "too_extreme"
    assert isinstance(inspect(row(data), max_pixels=9600, max_aspect=1.5)[0], Result)


def test_own_group_is_measured(own_group):
    own_group.measure = lambda picture, file: {"x": picture.header.width + len(file)}
    (result,) = inspect(row(encode("PNG"), wanted={"inspect.own"}), signals=("own_signals.module",))
    assert result.values == {"inspect.own": {"x": 125}}


def test_a_bug_in_a_group_fails_its_own_table_of_its_row_alone(own_group):
    def measure(picture, _file):
        if picture.header.format == "png":
            raise ZeroDivisionError("oh")
        return {"x": 2.0}

    own_group.measure = measure
    wanted = {"inspect.own", "inspect.file"}
    failed, fine = inspect(
        row(encode("PNG"), 0, wanted),
        row(encode("JPEG"), 1, wanted),
        signals=("file", "own_signals.module"),
    )
    # The code has no word of the picture in it: there may be any number of those.
    said = {"error": "inspect_error", "detail": "ZeroDivisionError: oh"}
    assert failed.values["inspect.own"] == said
    assert failed.values["inspect.file"]["format"] == "png"
    assert fine.values["inspect.own"] == {"x": 2.0}


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
def test_what_concerns_the_process_is_not_swallowed(own_group, error):
    def measure(_picture, _file):
        raise error

    own_group.measure = measure
    with pytest.raises(error):
        inspect(row(encode("PNG"), wanted={"inspect.own"}), signals=("own_signals.module",))


def test_tables_hold_what_changes_values(own_group):
    stage = Inspect(InspectSettings(signals=("tone", "own_signals.module"), max_bytes=5000))
    tone, own = stage.tables()
    limits = {"max_pixels": Limits().max_pixels, "max_bytes": 5000, "max_aspect": 1000.0}
    assert (tone.name, tone.settings) == ("inspect.tone", limits)
    assert (own.name, own.version) == ("inspect.own", 4)
    assert own.settings == {**limits, "group": "own_signals.module"}
    full_name = Inspect(InspectSettings(signals=("nucleus_data.signals.tone",), max_bytes=5000))
    assert full_name.tables()[0] == tone


def test_wrong_settings_stop_before_any_row():
    with pytest.raises(ValueError, match="are both named 'tone'"):
        Inspect(InspectSettings(signals=("tone", "nucleus_data.signals.tone")))
    with pytest.raises(ValueError, match="signal group 'tones'"):
        Inspect(InspectSettings(signals=("tones",)))
    for wrong in ({"signals": ()}, {"max_pixels": 0}, {"max_pixels": 10**9}, {"speed": 1}):
        with pytest.raises(ValidationError):
            InspectSettings(**wrong)
    with pytest.raises(ValidationError):
        InspectSettings().max_bytes = 3
    assert all(field.description for field in InspectSettings.model_fields.values())
