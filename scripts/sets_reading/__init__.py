"""Parts of `scripts/bench_sets_reading.py`: sets to read, a slow store, the peers."""
