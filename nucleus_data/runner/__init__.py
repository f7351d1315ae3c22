"""The runner: a loop over Ray Core that does shards and counts attempts itself.

It never lets one image end a run.

- `rows`: one shard of a row stage, from tables and images to committed parts (no Ray in it).
- `guarded`: the same with each image in a child process that may die.
- `actor`: a model that lives in a Ray actor and is fed rows of several shards, so that it never
  drains.
- `loop`: the driver's side; `cluster`: connecting to Ray.
"""
