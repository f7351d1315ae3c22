"""Words the results of truth tests: for the run's summary, and when they stop the run."""

from collections.abc import Mapping

from nucleus_data.stages.caption.truth.verdict import Verdict

TOLD = 60  # maximum characters of a text in a message


def told(counts: Mapping[str, int]) -> str:
    """Returns a line for people, from a run's counts; empty if there were no tests."""
    probes, same = counts.get("truth_probes", 0), counts.get("truth_same", 0)
    if not probes:
        return ""
    parts = [
        f"{probes} pictures captioned again, alone: {same} with the same result"
        f" ({same / probes:.0%})"
    ]
    if same < probes:
        parts[0] += "; batching changes floating-point sums"
    if swapped := counts.get("truth_swapped", 0):
        parts.append(f"WARNING: {swapped} captions belong to another picture")
    if greys := counts.get("truth_grey", 0):
        like = counts.get("truth_like_grey", 0)
        parts.append(f"{greys} shown grey instead: {like} with the same result")
    return "truth tests: " + ", ".join(parts)


def stopped(engine: str, verdict: Verdict, *, blind: bool) -> str:
    """Returns the message with which a run stops: what was found, and what to do.

    Args:
        engine: The engine's name and version.
        verdict: The result of the tests.
        blind: Whether the model does not see the pictures.
    """
    if blind:
        finding = (
            f"the model gives {len(verdict.like_grey)} grey pictures the captions of the real ones"
            f" ({_short(verdict.like_grey[0].crowd)}), even when asked to describe them: it does"
            " not see them"
        )
    elif verdict.swapped:
        probe, other = verdict.swapped[0]
        assert probe.alone is not None
        finding = (
            f"{len(verdict.swapped)} of the first pictures have the caption of another one: record"
            f" {probe.id} has that of {other.id} ({_short(probe.crowd)}); captioned alone, it gets"
            f" {_short(probe.alone.text)}"
        )
    else:
        probe = verdict.shared[0]
        finding = (
            f"{len(verdict.shared)} different pictures have the caption {_short(probe.crowd)},"
            " which none of them gets when captioned alone"
        )
    return (
        f"caption: truth tests of {engine}: {finding}. Captions of this run can't be trusted. Try"
        " another version of the engine, caption.engine=transformers, or vLLM without caches"
        " (caption.vllm_args={enable_prefix_caching: false, mm_processor_cache_gb: 0});"
        " caption.probes=0 turns these tests off"
    )


def _short(text: str | None) -> str:
    text = text or ""
    return repr(text if len(text) <= TOLD else text[:TOLD] + "...")
