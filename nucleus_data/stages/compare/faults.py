"""Names of what is worse in a copy than in the best; they are for people, and decide nothing."""

from collections.abc import Callable

from nucleus_data.stages.compare.planes import Terms

# Fault -> condition on the terms of the pair (best copy, other copy).
FAULTS: dict[str, Callable[[Terms], bool]] = {
    "smaller": lambda t: t["size"] > 0.03,
    "enlarged": lambda t: t["size"] < -0.03 and t["both_stretch"] < 0.1,
    "stretched": lambda t: t["both_stretch"] > 0.1,
    "cropped": lambda t: t["shows_more"] > 0.1,
    "framed": lambda t: t["shows_more"] < -0.1 and t["framed"] < -0.3,
    "grey": lambda t: t["saturation"] > 3,
    "pale": lambda t: 0.5 < t["saturation"] <= 3,
    "tinted": lambda t: (
        t["both_colour_change"] > 5
        and (t["tint"] < -0.5 or t["tint_light"] < -0.5)
        and t["saturation"] < 0.5
    ),
    "clipped": lambda t: t["plateau"] < -2,
    "faded": lambda t: t["contrast"] > 0.35,
    "few colours": lambda t: t["comb"] < -1.2 or t["colours"] > 2.5,
    "noisy": lambda t: t["grain_flat"] < -0.8 or t["spikes"] < -1,
    "sharpened": lambda t: t["beyond"] < -1 and t["band_3"] < -0.25 and t["both_coherence_3"] > 0.9,
    "blurred": lambda t: t["grain_busy"] > 0.4 and t["band_4"] > 0.4,
    "marked": lambda t: t["edges_alone"] < -1 and t["both_local"] > 0.15,
}


def faults_of(terms: Terms) -> tuple[str, ...]:
    """Returns what is worse in the second copy than in the first; `worse` if nothing has a name.

    Args:
        terms: The terms of the pair.
    """
    return tuple(name for name, found in FAULTS.items() if found(terms)) or ("worse",)
