"""Parts of `scripts/bench_caption.py`."""
