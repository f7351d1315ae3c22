"""Parts of `scripts/bench_learning.py`: its pictures, its prompts, and what it finds in samples."""
