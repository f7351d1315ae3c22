"""Reports which stored latents and text states a training used."""

from collections.abc import Iterator, Mapping
from typing import Any

SHOWN_FAULTS = 5


def encoded_words(encoded: Mapping[str, Any]) -> Iterator[str]:
    """Yields lines for people about the latents and text states of `encode` that were read.

    Args:
        encoded: As `RunParts.encoded` returns it.
    """
    for name, kind in encoded.items():
        if not kind["folders"]:
            continue
        line = f"  {name}: {kind['read']:,} read from {', '.join(kind['folders'])}"
        if kind["lacking"]:
            line += f", {kind['lacking']:,} were missing and were encoded by the trainer"
        yield line
        for file, found in list(kind["faults"].items())[:SHOWN_FAULTS]:
            yield f"    {file}: {found}; to make it again, remove it and run: nucleus encode"
        if (more := len(kind["faults"]) - SHOWN_FAULTS) > 0:
            yield f"    and {more:,} more files"
