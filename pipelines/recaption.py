"""Captions again, where prompt, model or sampling changed, and makes the training set anew.

ray job submit --working-dir . -- python -m pipelines.recaption --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

from nucleus_data.commands import run_pipeline

STEPS = (
    "caption",  # caption what is kept, several times each
    "score_captions",  # compare them with their pictures, if score_captions.variants says so
    "shard",  # write aspect-bucketed training shards
)

if __name__ == "__main__":
    run_pipeline("recaption", STEPS)
