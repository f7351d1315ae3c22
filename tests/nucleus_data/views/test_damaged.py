"""Each kind of file of a finished corpus is damaged, and each looking command is asked."""

import pytest
from click.testing import CliRunner

from nucleus_data.commands import cli
from nucleus_data.errors import CorpusError, RequestError
from tests.support import curated
from tests.support.damage import copy_of, damage, kinds
from tests.support.looked_at import RULES

# Kind -> the commands whose answer is not whole without it; the others need not name it.
NEEDED = {
    "records": ("status", "explain", "export", "diff", "report"),
    "measured": ("status", "explain", "report"),
    "pairs": ("status", "explain", "pairs", "report"),
    "selection": ("explain", "export", "diff", "report"),
    "pairs published": ("status", "pairs"),
    "selection published": ("status", "export", "diff", "report"),
    "index of a set": ("explain",),
    "manifest": ("report",),
    "left out of a set": ("report",),
    "claim": (),
    "images": (),
    "plan of a run": (),
    "stages of a run": (),
    "failures of a run": (),
    "corpus": ("status", "explain", "export", "diff", "pairs", "report"),
}
REFUSED = {
    *(("export", kind) for kind in ("records", "selection", "selection published")),
    # How many equal files there are is a part of what a selection is called by (placeholders).
    *((command, "pairs published") for command in ("pairs", "export")),
    ("diff", "selection published"),
}


def ask(command, root, tmp_path, made):
    """Exit code and output of a command, in this process and without Ray."""
    if command == "report":
        return report(root)
    selection = made.made.tables["selection"]
    arguments = {
        "status": (),
        "explain": ("5.png",),
        "export": (tmp_path / "kept.parquet",),
        "diff": (selection, selection),
        "pairs": (),
    }[command]
    arguments = [command, *map(str, arguments), f"corpus={root}", RULES]
    result = CliRunner().invoke(cli, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.output


def report(root):
    """The stage, whose command would start Ray."""
    said = []
    try:
        curated.run(str(root), "report", RULES, said=said).do("report")
    except (CorpusError, RequestError) as error:
        return 2, str(error)
    return 0, "\n".join(said)


def check(made, tmp_path, kind, way):
    root = copy_of(made, tmp_path / "c")
    path = damage(root, kinds(made, made.made)[kind], way)
    for command in ("status", "explain", "export", "diff", "pairs", "report"):
        code, said = ask(command, root, tmp_path, made)
        where = f"{command}, {kind} {way}: {code}, {said}"
        assert code in (0, 1, 2), where
        assert "Traceback" not in said, where
        if command in NEEDED[kind]:
            assert str(path) in said, where
            assert "remove" in said.lower() or "copy" in said or "chmod" in said, where
        if kind == "corpus":
            assert code == 2, where
        elif (command, kind) == ("explain", "records"):
            assert code == 2, where  # the record is in the damaged part
        elif (command, kind) in REFUSED:
            assert code == 1, where
        else:
            assert code == 0, where


WAY = ("empty", "cut", "garbage", "folder", "flipped")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAY)
@pytest.mark.parametrize("kind", NEEDED)
def test_each_kind_in_each_way(made, tmp_path, kind, way):
    if way == "flipped" and kind not in ("records", "measured", "pairs", "selection", "manifest"):
        pytest.skip("a flipped byte of text is still text")
    check(made, tmp_path, kind, way)
