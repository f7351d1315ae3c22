"""Writes training shards of the selection.

ray job submit --working-dir . -- python -m pipelines.shard --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

from nucleus_data.commands import run_pipeline

STEPS = (
    "shard",  # write aspect-bucketed training shards
)

if __name__ == "__main__":
    run_pipeline("shard", STEPS)
