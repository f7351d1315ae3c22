"""The packaged captioner as a model that thinks, and what an engine makes of its answers."""

import json
from pathlib import Path

from nucleus_data.engines.captioner import Ask, Sampling
from nucleus_data.engines.find import CAPTIONER
from tests.support.captioned import ask, drain, requests

EMBEDDING = "model.language_model.embed_tokens.weight"
MARKS = ("<think>", "</think>")
# In place of the end of thinking the packaged model says this, once in its short captions.
SPOKEN = " The"
OPENED = "{% if enable_thinking is not false or messages[0].role == 'system' %}<think>{% endif %}"


def make_thinker(folder, *, special=True):
    """Writes the packaged captioner with marks of thinking to a folder.

    Where the packaged model says `SPOKEN`, this one says `</think>`. Its template begins the answer
    inside a block of thinking unless that is turned off, and whenever there is a system prompt.

    Args:
        folder: The folder, which must exist.
        special: Whether the marks are special tokens.
    """
    import torch
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer

    nano = Path(CAPTIONER.nano)
    for name in ("generation_config.json", "processor_config.json", "tokenizer_config.json"):
        (folder / name).write_text((nano / name).read_text())
    template = (nano / "chat_template.jinja").read_text()
    start = "<|im_start|>assistant\n"
    assert template.count(start) == 1
    (folder / "chat_template.jinja").write_text(template.replace(start, start + OPENED))
    content = json.loads((nano / "tokenizer.json").read_text())
    weights = load_file(nano / "model.safetensors")
    rows = weights[EMBEDDING]
    content["added_tokens"] += [
        {**content["added_tokens"][0], "id": len(rows) + i, "content": mark, "special": special}
        for i, mark in enumerate(MARKS)
    ]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (spoken,) = Tokenizer.from_file(str(nano / "tokenizer.json")).encode(SPOKEN).ids
    # Input and output share the rows: a slightly longer one has the larger logit of the two.
    added = torch.zeros(64, rows.shape[1], dtype=rows.dtype)
    added[1] = rows[spoken] * 1.02
    weights[EMBEDDING] = torch.cat([rows, added])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((nano / "config.json").read_text())
    config["text_config"]["vocab_size"] = len(weights[EMBEDDING])
    (folder / "config.json").write_text(json.dumps(config))


def thoughts(engine):
    """Asks about pictures: usually, cut short, and cut short where the model begins by thinking."""
    made = {}
    for key, image, prompt in requests(4):
        if key.endswith("/short"):
            asks = [
                Ask(f"{key} whole", prompt, Sampling(64)),
                Ask(f"{key} cut", prompt, Sampling(3)),
                Ask(f"{key} inside", prompt, Sampling(2), system="Think."),
            ]
            made |= drain(engine, ask(engine, *asks, image))
    return made


def check_thoughts(found, plain):
    """Checks what the model with thoughts said, and the packaged one where it did not think."""
    assert len(found) == len(plain) == 12
    for key, own in plain.items():
        one, way = found[key], key.rpartition(" ")[2]
        thought, _, answer = own.text.partition(SPOKEN)
        assert thought, "or the mark would be the first word"
        assert one.text == {"whole": answer.strip(), "cut": own.text, "inside": ""}[way]
        assert one.finish_reason == own.finish_reason == ("stop" if way == "whole" else "length")
        assert one.tokens == own.tokens
        # Thinking was turned off, unless the system prompt turned it on.
        assert one.prompt_tokens == own.prompt_tokens + (way == "inside")
