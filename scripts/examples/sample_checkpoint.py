"""Pictures from a checkpoint, in Python: the same as `nucleus sample`.

    python scripts/examples/sample_checkpoint.py CHECKPOINT "a red square" "a blue ring"

CHECKPOINT is a folder such as corpus/runs/RUN/quick_train/checkpoints/000600, or a pipeline in
diffusers' layout. Each picture is a PNG whose text says how it was made.
"""

import sys
from pathlib import Path

from nucleus_model import draw


def main(checkpoint: str, *prompts: str, out: str = "samples", steps: int = 20) -> None:
    """Draws each prompt with two seeds; 20 steps of UniPC come as near as 50 of Euler."""
    for line in draw(
        Path(checkpoint), prompts, Path(out), seeds=(0, 1), steps=steps, solver="unipc"
    ):
        print(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
