"""The caption stage beside bare vLLM, and variants that share a picture beside some that don't.

Both on one engine with the nano model, whose caches are emptied between. Processor time is that of
this process with all its threads; vLLM has no other. By default all of it is on one core: beside
other threads the same work takes more processor time, and only the stage has threads beside vLLM's.
"""

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from nucleus_data.engines.captioner import Ask, Engine, EngineSettings, Sampling
from nucleus_data.engines.find import resolve_model
from nucleus_data.pixels import open_picture
from nucleus_data.stage import Row
from nucleus_data.stages.caption.asking import Asking
from nucleus_data.stages.caption.flow import Flow
from nucleus_data.stages.caption.lanes import Lane
from nucleus_data.stages.caption.rounds import Clock, fitting
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.truth.probes import Probes
from nucleus_data.world import render, scene
from scripts.benchmark import Measure, measure

GOAL_BARE, GOAL_SHARED, GOAL_PREDICTED = "<= 1.08", ">= 1.5", ">= 0.9"
SIDE = 256
SHORTER = 4  # times, the shorter of two runs
VARIANTS = {"short": {"prompt": "short"}, "long": {"prompt": "long"}}
QUESTIONS = (
    "Describe this image in one sentence: the objects, nothing else.",
    "Describe this image in two sentences: the objects, then the background.",
    "List what is in this image as tags, separated by commas.",
)


class Both:
    """A bare `vllm.LLM`, and our engine upon the same one.

    Args:
        settings: Of our engine; the bare one gets the same arguments.
    """

    def __init__(self, settings: EngineSettings) -> None:
        from nucleus_data.engines import captioner_vllm

        for variable, value in captioner_vllm.ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        import vllm

        model = resolve_model(settings.model, settings.revision)
        arguments = captioner_vllm.engine_arguments(model, settings)
        # Bare, it has the cache of pictures that it has by itself.
        del arguments["mm_processor_cache_gb"]
        self.bare = vllm.LLM(**arguments)
        core = self.bare.llm_engine
        with mock.patch.object(vllm.LLMEngine, "from_engine_args", return_value=core):
            self.engine = captioner_vllm.VllmEngine(model, settings)
        self.sampling = vllm.SamplingParams

    def forget(self) -> None:
        """Empties every cache."""
        core = self.bare.llm_engine
        core.reset_mm_cache()
        core.reset_encoder_cache()
        core.reset_prefix_cache()
        self.engine.counts()


def files(count: int, start: int = 0) -> list[bytes]:
    """PNGs of the world's pictures, each another one."""
    made = []
    for number in range(start, start + count):
        stream = io.BytesIO()
        render(scene(0, number), 160, 128).save(stream, "PNG")
        made.append(stream.getvalue())
    return made


def processor(work: Callable[[], Any]) -> float:
    """Processor seconds of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


class Tested(Probes):
    """Truth tests that note their processor time."""

    seconds = 0.0

    def ask_alone(self, engine: Engine, model: str = "") -> None:
        """As the stage's own."""
        self.seconds += processor(partial(super().ask_alone, engine, model))


def bare_rows(both: Both, pictures: Sequence[bytes], rounds: int) -> Iterator[Measure]:
    """The stage's processor time over that of `LLM.generate` with the same requests.

    In runs of two sizes: the longer one in all, and what each further caption costs, without what
    every run costs once (an engine that fills and drains). What truth tests cost a run is told
    apart, as it does not grow with the run.
    """
    settings = CaptionSettings(variants=VARIANTS, max_side=SIDE)  # type: ignore[arg-type]
    asking = Asking(settings, both.engine.count_tokens)
    tables = frozenset(f"caption.{name}" for name in VARIANTS)
    rows = [
        Row(0, number, f"{number:032x}", "f.png", data, {}, tables)
        for number, data in enumerate(pictures)
    ]

    def stage(count: int, probes: Probes | None = None) -> int:
        lane = Lane(both.engine, asking, 1, list(VARIANTS), probes)
        flow = Flow([lane], 1, Clock(), lambda said: None)
        return sum(1 for _ in flow.run(iter(rows[:count])))

    chat = both.engine._chats.usual
    prompts: list[Any] = []
    sampling = []
    for row in rows:
        image = Image.fromarray(open_picture(row.image or b"").rgb(max_side=SIDE))
        for name in VARIANTS:
            ask = asking.ask(row, name, 0, {})
            prompts.append(
                {
                    "prompt_token_ids": chat.tokens(ask.question),
                    "multi_modal_data": {"image": image},
                }
            )
            most = ask.sampling.max_tokens
            sampling.append(both.sampling(max_tokens=most, temperature=0.0, seed=0))

    def bare(count: int) -> int:
        asked = count * len(VARIANTS)
        return len(both.bare.generate(prompts[:asked], sampling[:asked], use_tqdm=False))

    sizes = (len(rows) // SHORTER, len(rows))
    # Of each size, longest last: processor seconds by round.
    found: dict[str, list[list[float]]] = {"stage": [[], []], "bare": [[], []]}
    for number in range(rounds + 1):  # the first warms up
        for size, count in enumerate(sizes):
            for name, work in (("bare", bare), ("stage", stage))[:: 1 if number % 2 else -1]:
                both.forget()
                took = processor(partial(work, count))
                if number:
                    found[name][size].append(took)
    kinds = {
        "": ({name: longer for name, (_, longer) in found.items()}, sizes[1]),
        ", each further caption": (
            {
                name: [longer - shorter for shorter, longer in zip(*taken, strict=True)]
                for name, taken in found.items()
            },
            sizes[1] - sizes[0],
        ),
    }
    for kind, (seconds, count) in kinds.items():
        shares = [one / other for one, other in zip(seconds["stage"], seconds["bare"], strict=True)]
        name = f"processor time, stage over bare{kind}"
        yield measure(name, shares, "times", GOAL_BARE, "LLM.generate")
        for name, taken in seconds.items():
            each = [1000 * took / (count * len(VARIANTS)) for took in taken]
            yield measure(f"processor time, {name}{kind}", each, "ms a caption")
    both.forget()
    fitted = fitting(settings)
    probes = Tested(settings.probes, lambda data: fitted(open_picture(data)))
    stage(sizes[1], probes)
    yield measure("processor time, truth tests of a run", [probes.seconds], "s")


def shared_rows(both: Both, count: int, rounds: int) -> Iterator[Measure]:
    """Three variants of a picture that share it, over three that don't."""
    engine = both.engine
    speedups, predicted, visions, tower = [], [], [], []
    for number in range(rounds + 1):
        pictures = [
            open_picture(data).rgb(max_side=SIDE) for data in files(count, 10_000 + number * count)
        ]
        both.forget()
        shared = processor(partial(_ask, engine, pictures, QUESTIONS))
        encodes = engine.counts().get("pictures", 0)
        # Each is told from the others by one of its corners, so that nothing of it is found again.
        apart = [(_marked(picture, n), q) for n, q in enumerate(QUESTIONS) for picture in pictures]
        both.forget()
        alone = processor(partial(_ask_each, engine, apart))
        # One question: with the picture anew, and once more, as a caption without vision costs.
        both.forget()
        fresh = processor(partial(_ask, engine, pictures, QUESTIONS[:1]))
        prepared = [_prepared(engine, p, QUESTIONS[:1], n) for n, p in enumerate(pictures)]
        again = processor(partial(_drain, engine, prepared))
        if number == 0:
            continue
        vision = max(0.0, 1 - again / fresh)
        visions.append(vision)
        speedups.append(alone / shared)
        predicted.append((alone / shared) / (3 / (3 - 2 * vision)))
        tower.append(encodes / count)
    against = "three unshared"
    yield measure("three variants shared, speed", speedups, "times", GOAL_SHARED, against)
    yield measure("the same, over 3 / (3 - 2 v)", predicted, "times", GOAL_PREDICTED, against)
    yield measure("vision's share v of a caption", visions, "")
    yield measure("vision encodes of a picture with three variants", tower, "", "<= 1")


def _marked(picture: Any, number: int) -> Any:
    marked = np.array(picture)
    marked[0, 0] = (number, 255 - number, 128)
    return marked


def _prepared(engine: Any, picture: Any, questions: Sequence[str], number: int) -> Any:
    asks = [
        Ask(f"{number}/{n}", question, Sampling(max_tokens=64))
        for n, question in enumerate(questions)
    ]
    return engine.prepare(picture, asks)


def _ask(engine: Any, pictures: Sequence[Any], questions: Sequence[str]) -> None:
    """Prepares, asks and waits."""
    _drain(engine, (_prepared(engine, p, questions, n) for n, p in enumerate(pictures)))


def _ask_each(engine: Any, questions: Sequence[tuple[Any, str]]) -> None:
    """Asks one question a picture, and waits."""
    _drain(engine, (_prepared(engine, p, [q], n) for n, (p, q) in enumerate(questions)))


def _drain(engine: Any, prepared: Any) -> None:
    """Asks, with the engine full, and waits."""
    for one in prepared:
        engine.submit(one)
        while engine.pending() > 60:
            engine.step()
    while engine.pending():
        engine.step()


def bench(pictures: int, rounds: int, *, all_cores: bool = False) -> list[Measure]:
    """Returns all rows.

    Args:
        pictures: Number of pictures per round.
        rounds: Number of rounds.
        all_cores: Whether to leave this process and its future threads on all cores.
    """
    if not all_cores:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    both = Both(EngineSettings(max_side=SIDE))
    return [
        *bare_rows(both, files(2 * pictures), rounds),
        *shared_rows(both, min(pictures, 32), rounds),
    ]
