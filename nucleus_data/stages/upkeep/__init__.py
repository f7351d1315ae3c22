"""Upkeep of a corpus and its training sets: the commands `takedown`, `verify` and `gc`.

- `takedown` removes pictures and everything derived from them. `request` has the user's criteria,
  `find` finds the records, `plan` writes down what will be done before anything changes,
  `tombstones` defines what remains of a record, `shards` and `sets` do the work, and `prove` reads
  everything again to prove the records' absence.
- `verify` checks every sample of a training set.
- `gc` removes what no run and no set uses.
"""
