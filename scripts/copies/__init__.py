"""Parts of `scripts/bench_copies.py`."""
