"""Processes of a gloo group that load one set; started by torchrun in a test.

    torchrun --nproc-per-node 4 -m tests.support.loading_ranks FOLDER OUT BATCHES

For 1 to 4 of them, each with another number of workers, writes what their batches are.
"""

import json
import sys
from pathlib import Path

from torch import distributed

from nucleus_model.data.batches import Cursor, Share
from tests.support.loading import STREAMS, Opened

WORKERS = {1: 2, 2: 1, 3: 0, 4: 1}


def main():
    folder, out, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    distributed.init_process_group("gloo")
    rank, found = distributed.get_rank(), {}
    for name, order in (("exact", {}), ("streams", STREAMS)):
        for size in WORKERS:
            workers = WORKERS[size] if order else 0
            group = distributed.new_group(list(range(size)))
            if rank < size:
                found[f"{name} {size}"] = load(folder, count, group, rank, size, workers, order)
            distributed.barrier()
    if rank == 0:
        out.write_text(json.dumps(found))
    distributed.destroy_process_group()


def load(folder, count, group, rank, size, workers, order):
    """Cursor and sorted (id, caption) of each batch, of all processes of a group."""

    def gather(text):
        parts = [None] * size
        distributed.all_gather_object(parts, text, group=group)
        return parts

    values = {"holdout_share": 0.2, "loader": {"workers": workers}, **order}
    made = Opened(folder, Share(rank, size), gather, **values)
    mine = made.batches(count, Cursor())
    told = [[c.epoch, c.batch, list(zip(i, t, strict=True))] for c, _, i, t, _ in mine]
    texts = gather(json.dumps(told))
    batches = zip(*map(json.loads, texts), strict=True)
    return [[*parts[0][:2], sorted(pair for p in parts for pair in p[2])] for parts in batches]


if __name__ == "__main__":
    main()
