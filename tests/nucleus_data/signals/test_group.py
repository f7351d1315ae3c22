import pyarrow as pa
import pytest

from nucleus_data.signals import SignalGroup, detail, file, hash, is_built_in, load_group, tone
from tests.support.measured import picture_of, scene

GROUPS = (file.group, tone.group, detail.group, hash.group)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_values_are_the_schemas_columns_and_fit_it(group):
    values = group.measure(picture_of(scene(100, 70), "JPEG"), "a.jpg")
    assert list(values) == group.schema.names
    assert pa.Table.from_pylist([values], schema=group.schema).num_rows == 1


def test_load_group_finds_built_in_and_own(tmp_path, monkeypatch):
    for group in GROUPS:
        assert load_group(group.name) is group
        assert load_group(f"nucleus_data.signals.{group.name}:group") is group
    package = tmp_path / "package_of_a_user"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "colours.py").write_text(
        "import pyarrow as pa\n"
        "from nucleus_data.signals import SignalGroup\n"
        "schema = pa.schema([('red', pa.float32())])\n"
        "mine = SignalGroup('red', 3, schema, lambda picture, file: {'red': 1.0})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    group = load_group("package_of_a_user.colours:mine")
    assert (group.name, group.version) == ("red", 3)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tones", "or one of canonical, colour, compression, detail, file, hash"),
        ("no_such_package.module", "cannot import 'no_such_package.module'"),
        ("nucleus_data.signals.tone:nothing", "must be a SignalGroup, but is missing"),
        ("nucleus_data.signals.tone:measure", "must be a SignalGroup, but is a function"),
        ("../evil", "package.module:attribute"),
        ("a:b:c", "package.module:attribute"),
        ("", "package.module:attribute"),
    ],
)
def test_load_group_says_what_is_wrong(path, message):
    with pytest.raises(ValueError, match=message):
        load_group(path)


def test_is_built_in():
    assert is_built_in("tone")
    assert is_built_in("nucleus_data.signals.tone:group")
    assert not is_built_in("my_package.tone")


def test_a_group_is_checked_when_made():
    schema = pa.schema([("x", pa.float32())])
    with pytest.raises(ValueError, match="lower-case"):
        SignalGroup("My Group", 1, schema, lambda _picture, _file: {})
    with pytest.raises(ValueError, match="'error'"):
        SignalGroup("mine", 1, pa.schema([("error", pa.string())]), lambda _picture, _file: {})
