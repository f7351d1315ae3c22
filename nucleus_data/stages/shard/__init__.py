"""The stage `shard`: plans a training set on metadata, writes it tar by tar, and publishes it.

- `stage` runs all of it in order, with the settings in `settings`; `identity` computes hashes.
- `plan` plans the tars in partitions: `chosen` reads kept records and computes their buckets and
  crops, `counts` applies limits and caps, `order` orders records within a bucket, and `totals` has
  the buckets and the numbers of their tars.
- `write` writes a tar: `originals` reads its files ahead, `pictures` crops, resizes and encodes.
- `publish` writes the manifest, and `card` the facts for the set's card.
- `aligned` writes files beside the tars: captions (`captions`, `edition`) and index columns
  (`columns`).
"""
