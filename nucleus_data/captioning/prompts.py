"""The prompts that have a name; a configuration may give texts of its own instead."""

PROMPTS: dict[str, str] = {
    "short": "Describe this image in one short sentence.",
    "long": (
        "Describe this image in one detailed paragraph: the objects, their places, the background"
        " and the light."
    ),
}
