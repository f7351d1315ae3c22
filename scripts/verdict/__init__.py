"""What `scripts/verdict_self_test.py` is made of.

| module | what it holds |
|---|---|
| `pool` | pictures of the world with true captions, and sets of them by the product's own writer |
| `faults` | eight kinds of faults, planted in a share of a pool's pictures or captions |
| `cases` | which sets are compared, with which seeds, in each part |
| `comparing` | one comparison, from sets to sentence; trainings of the clean set are shared |
| `control` | the bootstrap over samples, which must alarm |
| `lines` | a JSON line a finished comparison; a test that was killed goes on |
| `table` | the lines as Markdown |
"""
