"""Trains the nano models that the package brings, from nothing, on the synthetic world.

    python scripts/build_nano_models.py captioner                 # an hour, in the background
    python scripts/build_nano_models.py captioner --minutes 80    # goes on from the last checkpoint
    python scripts/build_nano_models.py captioner --measure       # only measures, writes the card
    python scripts/build_nano_models.py clip --last --minutes 15  # the text tower, on what is there

A checkpoint is kept in `--work` every minute: kill it, and the same command goes on. A model trains
in one process while another paints its pictures. What is measured goes into the card beside the
weights, with the command; the worlds that models are measured on are never trained on.
"""

import argparse
import importlib
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

MEASURES = {
    "captioner": "captioner_measure:measure",
    "clip": "clip_measure:measure_clip",
    "heads": "clip_measure:measure_heads",
    "vae": "vae_measure:measure",
}


def main() -> None:
    """The command."""
    import yaml

    from scripts.nano.training import ASSETS, CARD

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=tuple(MEASURES))
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="of CPU time in training, earlier runs included"
    )
    parser.add_argument("--scenes", type=int, help="pictures a step [default: the model's own]")
    parser.add_argument("--lr", type=float, help="highest learning rate [default: the model's own]")
    parser.add_argument(
        "--last",
        action="store_true",
        help="clip: only the last part, the text tower, on the weights that are in --out",
    )
    parser.add_argument("--measure", action="store_true", help="measure what is there, no training")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "nucleus-nano",
        help="where checkpoints are kept",
    )
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder of the models' folders")
    args = parser.parse_args()
    if args.last and args.model != "clip":
        parser.error("--last: only the clip has such a part")
    if not args.measure:
        module = importlib.import_module(f"scripts.nano.{args.model}")
        args.lr, args.scenes = args.lr or module.RATE, args.scenes or module.SCENES
        card = {"trained": f"{module.build(args)}."}
        (args.out / args.model / CARD).write_text(yaml.safe_dump(card, width=1000))
    module, function = MEASURES[args.model].split(":")
    getattr(importlib.import_module(f"scripts.nano.{module}"), function)(args)


if __name__ == "__main__":
    main()
