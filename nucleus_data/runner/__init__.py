"""The runner: processes numbered items (mostly image shards), through Ray or in this process.

A single image never ends a run, and attempts are counted here, not by Ray.

- `run`: one command's run: its inputs, counts and files; `pins`: config hashes.
- `work`: the data types passed to and from workers; `row_stage`: a row stage over a whole corpus.
- `rows`: one shard of a row stage, from tables and images to committed parts.
- `loop`: the driver's loop over Ray Core; `local`: the same with one worker process of this
  machine, for small work; `inline`: the same in this process, for tests and debuggers; `attempts`:
  retries.
- `workers`: chooses among these for a command; `cluster`: connects to Ray, and notices its loss.
- `actor`: a model in a Ray actor, which is fed rows of several shards to keep it busy.
- `guarded`: a shard with each image in a child process that may die; `child`: such processes;
  `cwd`: a working directory.
"""
