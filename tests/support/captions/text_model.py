"""A model that reads texts alone: the words of the nano captioner, without its eyes."""

import json
import shutil

from safetensors.torch import load_file, save_file

from nucleus_data.engines.find import CAPTIONER

LANGUAGE = "model.language_model."
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
TEMPLATE = "chat_template.jinja"


def write_text_model(folder):
    """Writes a Qwen3 that says of a text what the nano captioner says of it without a picture."""
    folder.mkdir(parents=True)
    nano = CAPTIONER.nano
    config = json.loads((nano / "config.json").read_text())["text_config"]
    rope = {"rope_type": "default", "rope_theta": config["rope_parameters"]["rope_theta"]}
    config |= {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "dtype": "bfloat16"}
    config |= {"rope_parameters": rope}
    (folder / "config.json").write_text(json.dumps(config))
    for name in (*TOKENIZER, TEMPLATE):
        shutil.copy(nano / name, folder / name)
    weights = load_file(nano / "model.safetensors")
    words = {
        f"model.{name.removeprefix(LANGUAGE)}": tensor
        for name, tensor in weights.items()
        if name.startswith(LANGUAGE)
    }
    save_file(words, folder / "model.safetensors", {"format": "pt"})
    return folder
