"""The examples, run as they stand, on a small corpus, set and checkpoint."""

import gc
import io
import re

import pytest

from nucleus_data import load_recipe, run_line
from nucleus_data.world import render, scene
from nucleus_data.world.corpora import small_corpus, write_shard
from scripts.examples import change_recipe, own_signal, tables
from tests.support.commands import REPOSITORY as ROOT
from tests.support.curated import NANO


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Eight scenes with captions, half of them wide, and a broken file; curated and sharded."""
    made = small_corpus(tmp_path_factory.mktemp("examples") / "c", shards=0)
    images = {f"{i}.png": png(i, *((288, 120) if i % 2 else (160, 160))) for i in range(8)}
    images["broken.png"] = b"<html>"
    write_shard(made, 0, images, {name: f"picture {name}" for name in images})
    recipe = load_recipe(NANO, [f"corpus={made.uri}", "shard.captions=[source]"])
    line = ["inspect", "dedup", "select", "shard"]
    made.run = run_line(recipe, line, inline=True, say=lambda _: None)
    return made


def png(index, width, height):
    stream = io.BytesIO()
    render(scene(5, index), width, height).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.slow
def test_tables(corpus, capsys):
    tables.main(corpus.uri)
    said = capsys.readouterr().out
    assert "kept" in said
    assert "laplacian_variance" in said


@pytest.mark.slow
def test_a_signal_of_ones_own(corpus):
    path = "scripts.examples.own_signal"
    overrides = [f"corpus={corpus.uri}", f"inspect.signals=[file, hash, {path}]"]
    recipe = load_recipe(NANO, [*overrides, "select.rules={red: redness > 2}", "select.prefer=[]"])
    run = run_line(recipe, ["inspect", "dedup", "select"], inline=True, say=lambda _: None)
    rows = corpus.table("inspect.own", run.tables["inspect.own"]).to_arrow_table().to_pylist()
    assert all(0 <= row["redness"] <= 1 for row in rows if row["error"] is None)
    assert own_signal.group.name == "own"


@pytest.mark.slow
def test_a_recipe_changed(corpus, capsys):
    change_recipe.main(corpus.uri, "select.rules.wide=aspect > 2")
    said = capsys.readouterr().out
    assert ["kept", "rejected", "4"] in [re.findall(r"\w+", line) for line in said.splitlines()]


# webdataset 0.2 leaves its files to the garbage collector, which is called here: it would warn
# in another test.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_set_read_by_plain_webdataset(corpus, capsys):
    from scripts.examples import read_set

    read_set.main(corpus.store.url(corpus.run.pins.training_set))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("8 samples at resolution 64, captions of edition ")
    assert [": picture " in line for line in lines] == [True] * 5 + [False]
    gc.collect()


@pytest.mark.slow
def test_a_checkpoint_sampled(tmp_path, capsys):
    from nucleus_model.training.train import quick_train
    from scripts.examples import sample_checkpoint
    from tests.support.training import settings, write_inputs

    folder, qwen = write_inputs(tmp_path)
    summary = quick_train(str(folder), tmp_path / "out", settings(qwen))
    checkpoint = str(tmp_path / "out" / summary["checkpoint"])
    sample_checkpoint.main(checkpoint, "a red square", out=str(tmp_path / "drawn"), steps=2)
    assert capsys.readouterr().out.splitlines()[-1].endswith("samples.png")
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 3


@pytest.mark.slow
def test_the_notebook_runs():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "scripts/examples/look.ipynb", as_version=4)
    resources = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources=resources).execute()
    said = "".join(
        out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", [])
    )
    assert "│ kept     │      48 │" in said
    assert "│ kept    │ rejected │      31 │" in said
