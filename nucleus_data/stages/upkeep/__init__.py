"""Upkeep of a corpus and its sets: `takedown`, `verify`, `gc`.

- `takedown` removes pictures and all that was made of them: `request` (what is asked), `find`
  (which records that are), `plan` (what will be done, written down first), `tombstones` (what stays
  of a record), `shards` and `sets` (the work), `prove` (absence, by reading again).
- `verify` checks a training set by sample.
- `gc` removes what no run and no set uses.
"""
