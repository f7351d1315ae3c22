"""Words the results of truth tests: for the run's summary, and when they stop the run."""

from collections.abc import Mapping

from nucleus_data.stages.caption.truth.verdict import SHARED_STOPS_AT, STOPS_AT, Verdict

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
    if counts.get("truth_doubtful", 0):
        parts.append(
            "WARNING: by chance, other captions would agree nearly as often; compare some with"
            " those of caption.engine=transformers"
        )
    elif same < probes / 2:
        parts.append(
            "so many can differ if texts are long and the precision is low; if not, compare some"
            " with those of caption.engine=transformers"
        )
    elif same < probes:
        parts.append("the others may be near ties, which batching can decide differently")
    if swapped := counts.get("truth_swapped", 0):
        parts.append(f"WARNING: {swapped} captions belong to another picture")
    if greys := counts.get("truth_grey", 0):
        like, blind = counts.get("truth_like_grey", 0), counts.get("truth_blind", 0)
        parts.append(f"{greys} shown grey instead: {like} with the same result")
        if blind:
            parts.append(
                f"WARNING: the model may not have seen {blind} pictures; look at some captions, and"
                " try another version of the engine"
            )
        elif like >= STOPS_AT:
            parts.append("as the question may have one answer: they are described differently")
    return "truth tests: " + "; ".join(parts)


def stopped(engine: str, verdict: Verdict) -> str:
    """Returns the message with which a run stops: what was found, and what to do.

    Args:
        engine: The engine's name and version.
        verdict: The result of the tests.
    """
    if verdict.blind:
        like, faded = verdict.like_grey, verdict.faded
        always = all(probe.faded == 2 for probe in verdict.described)
        finding = (
            f"the model gives {len(like)} of {len(verdict.greys)} grey pictures the answers of the"
            f" real ones ({_short(like[0].crowd)}), and describes {len(faded)} of"
            f" {len(verdict.described)} just like grey ones: it does not see them"
            + ("" if always else " at times")
        )
    elif len(verdict.swapped) >= STOPS_AT:
        probe, other = verdict.swapped[0]
        assert probe.alone is not None
        finding = (
            f"{len(verdict.swapped)} of the first pictures have the caption of another one: record"
            f" {probe.id} has that of {other.id} ({_short(probe.crowd)}); captioned alone, it gets"
            f" {_short(probe.alone.text)}"
        )
    elif len(verdict.shared) >= SHARED_STOPS_AT:
        probe = verdict.shared[0]
        finding = (
            f"{len(verdict.shared)} different pictures have the caption {_short(probe.crowd)},"
            " which none of them gets when captioned alone"
        )
    else:
        probe = verdict.doubtful[0]
        assert probe.alone is not None
        finding = (
            f"the captions resemble the answers for the same pictures alone hardly more than those"
            f" for other pictures; {len(verdict.doubtful)} differ: record {probe.id} has"
            f" {_short(probe.crowd)}; captioned alone, it gets {_short(probe.alone.text)}"
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
