"""The runner: numbered work (mostly image shards) done to its end, through Ray or in this process.

It never lets one image end a run, and it counts attempts itself.

- `run`: one command's run: what it works with, its counts and files; `pins`: config hashes.
- `work`: what is handed to workers and comes back; `row_stage`: a row stage over a whole corpus.
- `rows`: one shard of a row stage, from tables and images to committed parts.
- `loop`: the driver's loop over Ray Core; `local`: one in a worker of this machine, for small
  work; `inline`: one in this process, for tests and debuggers; `attempts`: what becomes of an item.
- `workers`: which of them does a command's work; `cluster`: connecting to Ray, and losing it.
- `actor`: a model in a Ray actor that is fed rows of several shards, so it never drains.
- `guarded`: a shard with each image in a child process that may die; `child`: such processes;
  `cwd`: a working directory.
"""
