"""Curate: inspect, dedup and select.

ray job submit --working-dir . -- python -m pipelines.curate --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

import sys

from nucleus_data.commands.cli import main

if __name__ == "__main__":
    main(["curate", *sys.argv[1:]])
