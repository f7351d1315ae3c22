"""Parts of `scripts/bench_corruption.py`."""
