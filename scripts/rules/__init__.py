"""Parts of `scripts/bench_rules.py`."""
