"""Says a scene in words, at five lengths.

The grammar is closed: every word comes from the lists of `scenes` and the sentences below, which is
what lets a captioner of a few MB learn all of it, and a checker read it back without a doubt.
"""

from nucleus_data.world.scenes import Scene, Shape

LENGTHS = ("tags", "very_short", "short", "medium", "long")
NUMBERS = ("no", "one", "two", "three", "four")
LEFT_OF, ABOVE = "to the left of", "above"


def captions(scene: Scene) -> dict[str, str]:
    """Says a scene in words.

    Args:
        scene: The facts.

    Returns:
        One caption for each of `LENGTHS`: `tags` (separated by commas), `very_short` (one sentence:
        colours and kinds), `short` (two sentences: sizes, textures and the background's colour
        too), `medium` (three to six sentences: places, light, style and words too), `long` (the
        number of shapes and how they lie to each other too).
    """
    return {
        "tags": _tags(scene),
        "very_short": _sentence(listed([with_article(colored(s)) for s in scene.shapes])),
        "short": " ".join(
            [
                _sentence(listed([with_article(described(s)) for s in scene.shapes])),
                _sentence(f"the background is {scene.background}"),
            ]
        ),
        "medium": " ".join([*_placed(scene), *_ground(scene), *_rest(scene)]),
        "long": " ".join(
            [
                f"This {_look(scene.style)} shows {_count(scene)}.",
                *_placed(scene),
                *(_sentence(" ".join(told)) for told in relations(scene)),
                *_ground(scene),
                *_word(scene),
            ]
        ),
    }


def colored(shape: Shape) -> str:
    """Colour and kind: `red ring`."""
    return f"{shape.color} {shape.kind}"


def described(shape: Shape) -> str:
    """Size, texture unless plain, colour and kind: `large striped red ring`."""
    texture = "" if shape.texture == "plain" else f"{shape.texture} "
    return f"{shape.size} {texture}{colored(shape)}"


def relations(scene: Scene) -> list[tuple[str, str, str]]:
    """How each shape lies to the next one in reading order.

    Returns:
        (`the red ring is`, `to the left of` or `above`, `the blue square`) for each neighbouring
        pair; a pair whose left one comes second is turned round.
    """
    told = []
    for first, second in zip(scene.shapes, scene.shapes[1:], strict=False):
        if abs(first.column - second.column) == 2:
            left, right = sorted((first, second), key=lambda s: s.column)
            told.append((f"the {colored(left)} is", LEFT_OF, f"the {colored(right)}"))
        else:
            told.append((f"the {colored(first)} is", ABOVE, f"the {colored(second)}"))
    return told


def with_article(text: str) -> str:
    """`a` or `an` before it."""
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def listed(parts: list[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _tags(scene: Scene) -> str:
    parts = [_count(scene), *(described(s) for s in scene.shapes), f"{scene.background} background"]
    if scene.ground == "graded":
        parts.append(f"lighter {scene.light}")
    elif scene.ground != "plain":
        parts.append(scene.ground)
    if scene.word:
        parts.append(f'"{scene.word}"')
    return ", ".join([*parts, scene.style])


def _count(scene: Scene) -> str:
    count = len(scene.shapes)
    return f"{NUMBERS[count]} shape{'s' if count > 1 else ''}"


def _look(style: str) -> str:
    return {"flat": "picture", "night": "night picture"}.get(style, f"{style} drawing")


def _placed(scene: Scene) -> list[str]:
    return [_sentence(f"{with_article(described(s))} is in the {s.place}") for s in scene.shapes]


def _ground(scene: Scene) -> list[str]:
    is_ = f"the background is {scene.background}"
    more = {
        "plain": "",
        "graded": f" and gets lighter towards the {scene.light}",
        "woven": " and woven",
        "cluttered": " and cluttered",
    }
    return [_sentence(is_ + more[scene.ground])]


def _rest(scene: Scene) -> list[str]:
    style = [] if scene.style == "flat" else [f"It is {with_article(_look(scene.style))}."]
    return [*style, *_word(scene)]


def _word(scene: Scene) -> list[str]:
    return [f'The word "{scene.word}" is at the {scene.word_place}.'] if scene.word else []


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
