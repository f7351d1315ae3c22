import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.errors import RequestError
from nucleus_data.line import before
from nucleus_data.line.recipe import load_recipe
from nucleus_data.runner.cluster import RaySettings
from nucleus_data.runner.work import Resources
from nucleus_data.runner.workers import Machine
from nucleus_data.world.corpora import small_corpus
from tests.support.curated import NANO

LAPTOP = Machine(cpus=4, gpus=0, memory_gb=16)


@pytest.fixture
def laptop(monkeypatch):
    monkeypatch.setattr(before, "machine", lambda settings: LAPTOP)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("asked", "device", "said"),
    [
        ({"num_gpus": 1}, None, "embed.num_gpus=1, but it has 0"),
        ({}, "cuda", "embed.device=cuda, but it has no GPU"),
        ({"num_cpus": 8}, "cpu", "embed.num_cpus=8, but it has 4"),
        ({"memory_gb": 64}, "cpu", "embed.memory_gb=64, but it has 16.0"),
    ],
)
def test_what_a_worker_asks_for_and_what_there_is(laptop, asked, device, said):
    with pytest.raises(RequestError, match="embed asks for more than this machine has: ") as error:
        before.check_machine("embed", Resources(**asked), device, RaySettings())
    assert said in str(error.value)
    before.check_machine("embed", Resources(num_cpus=4, memory_gb=16), "cpu", RaySettings())


def checked(corpus, names, *overrides):
    recipe = load_recipe(NANO, [f"corpus={corpus.uri}", *overrides])
    before.check_before(recipe, recipe.stages(), recipe.pins(), corpus, names)


def test_only_the_stages_of_the_line_are_asked_and_no_machine_where_a_cluster_is_named(
    laptop, tmp_path
):
    corpus = small_corpus(tmp_path / "c", shards=1)
    greedy = "resources.embed={num_gpus: 1}"
    checked(corpus, ["inspect", "dedup"], greedy)
    checked(corpus, ["inspect", "embed"], greedy, "embed.model=null")
    checked(corpus, ["inspect", "embed"], greedy, "ray.address=head:6379")
    with pytest.raises(RequestError, match="embed asks for more than"):
        checked(corpus, ["inspect", "embed"], greedy)


def test_a_question_about_a_column_that_is_not_there_is_refused_first(laptop, tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    rich = 'caption.variants.rich={text: "{source.titel}\\nDescribe it."}'
    with pytest.raises(
        RequestError, match=r"variants\.rich: the text uses {source\.titel}, .* available: "
    ):
        checked(corpus, ["inspect", "caption"], rich)
    checked(corpus, ["inspect", "dedup"], rich)
    checked(corpus, ["ingest", "caption"], rich, "caption.engine=transformers")


def test_a_rule_is_read_before_the_stages_that_come_first(laptop, tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    rule = "select.rules.r=source.nowhere > 3"
    with pytest.raises(RequestError, match=r"reads 'source\.nowhere', which is not in any table"):
        checked(corpus, ["inspect", "select"], rule)
    checked(corpus, ["ingest", "inspect", "select"], rule)  # what is ingested may have it
    empty = Corpus(str(tmp_path / "new"), create=True, dry_run=True)
    checked(empty, ["ingest", "inspect", "select"], rule)


def test_a_package_that_a_stage_loads_is_looked_for(laptop, tmp_path, monkeypatch):
    corpus = small_corpus(tmp_path / "c", shards=1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"embed needs torch, open_clip: pip install 'nucleus"):
        checked(corpus, ["inspect", "embed"])
    other = "embed.models={other: {model: nano, library: transformers}}"
    with pytest.raises(RequestError, match=r"other\.model: .* needs config\.json"):
        checked(corpus, ["inspect", "embed"], other)
    other = "embed.models={other: {model: a/b, revision: c, library: transformers}}"
    with pytest.raises(RequestError, match="embed needs torch, open_clip, transformers: "):
        checked(corpus, ["inspect", "embed"], other)
    only = ("embed.model=null", "score.heads=[]", other)
    with pytest.raises(RequestError, match="embed needs torch, transformers: "):
        checked(corpus, ["inspect", "embed"], *only)
    with pytest.raises(RequestError, match=r"quick_train needs torch, diffusers, transformers"):
        checked(corpus, ["quick_train"])
    checked(corpus, ["inspect", "dedup", "select", "shard"])


def test_of_several_models_each_is_asked_for_and_one_on_a_gpu_needs_one(
    laptop, tmp_path, monkeypatch
):
    corpus = small_corpus(tmp_path / "c", shards=1)
    asked = []
    monkeypatch.setattr(before, "check_reachable", lambda *given: asked.append(given))
    hub = "embed.models={one: {model: a/b, revision: c}}"
    checked(corpus, ["inspect", "embed"], hub)
    assert [(model, revision, kind.key) for model, revision, kind in asked] == [
        ("nano", None, "embed.model"),
        ("a/b", "c", "embed.models.one.model"),
    ]
    on_gpu = "embed.models={one: {model: a/b, revision: c, device: cuda}}"
    with pytest.raises(RequestError, match=r"embed\.device=cuda, but it has no"):
        checked(corpus, ["inspect", "embed"], on_gpu)


def test_the_models_of_captions_are_asked_for_and_must_fit_beside_each_other(
    laptop, tmp_path, monkeypatch
):
    corpus = small_corpus(tmp_path / "c", shards=1)
    asked = []
    monkeypatch.setattr(before, "check_reachable", lambda *given: asked.append(given))
    writer = "caption.models.writer={model: a/b, revision: c, engine: vllm}"
    short = "caption.variants.short={prompt: short, model: writer}"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    checked(corpus, ["inspect", "caption"], writer)
    checked(corpus, ["inspect", "caption"], writer, short)
    assert [(model, kind.key) for model, _, kind in asked] == [
        ("nano", "caption.model"),
        ("nano", "caption.model"),
        ("a/b", "caption.models.writer.model"),
    ]
    on_gpu = (writer, short, "caption.engine=vllm", "resources.caption.num_gpus=1")
    with pytest.raises(RequestError, match="share the GPU of each worker, and ask for 180%"):
        checked(corpus, ["inspect", "caption"], *on_gpu, "ray.address=head:6379")
    shares = ("caption.gpu_memory_utilization=0.6", f"{writer[:-1]}, gpu_memory_utilization: 0.3}}")
    checked(corpus, ["inspect", "caption"], *on_gpu, *shares, "ray.address=head:6379")


def test_a_model_of_a_server_need_not_be_here(laptop, tmp_path, monkeypatch):
    corpus = small_corpus(tmp_path / "c", shards=1)
    monkeypatch.setattr(before, "check_reachable", lambda *given: 1 / 0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name == "openai" else None)
    server = "caption.servers.urls=[http://gpu1:8000]"
    model = ("caption.model=a/b", "caption.revision=c", "caption.engine=server", server)
    checked(corpus, ["inspect", "caption"], *model)
    writer = "caption.models.writer={model: a/b, revision: c, engine: vllm}"
    short = "caption.variants.short={prompt: short, model: writer}"
    with pytest.raises(RequestError, match=r"caption\.models\.writer\.engine=vllm needs the pack"):
        checked(corpus, ["inspect", "caption"], *model, writer, short)
