"""Runs `peers.py`, each peer in a process of its own, in the environment that has them."""

import json
import subprocess
import sys
from pathlib import Path

PEERS, PEER_S = ("webdataset", "mds", "litdata"), 300
SCRIPT = Path(__file__).with_name("peers.py")


def peers(python: str, folder: Path, workers: int, side: int, seconds: float) -> dict[str, float]:
    """Pictures a second of each peer; one that fails or hangs is told, and costs itself alone.

    Args:
        python: Of an environment with the peers.
        folder: See `peers.py`, as for the next two.
        workers: Processes that decode.
        side: Of the pictures in pixels.
        seconds: How long each is measured.
    """
    found: dict[str, float] = {}
    for name in PEERS:
        command = [*map(str, (python, SCRIPT, folder, workers, side, seconds, name))]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=PEER_S + 10 * seconds
            )
            found[name] = json.loads(done.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            print(f"{name}: not measured, it took too long", file=sys.stderr)
        except subprocess.CalledProcessError as error:
            said = (error.stderr or "nothing").strip().splitlines()[-1]
            print(f"{name}: not measured: {said}", file=sys.stderr)
    return found
