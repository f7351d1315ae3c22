"""The whole line: ingest, inspect, dedup, select, caption, shard, quick-train, report.

ray job submit --working-dir . -- python -m pipelines.all --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

import sys

from nucleus_data.commands.cli import main

if __name__ == "__main__":
    main(["all", *sys.argv[1:]])
