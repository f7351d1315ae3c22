"""Parts of `scripts/verdict_cases.py` and `scripts/verdict_carries.py`."""
