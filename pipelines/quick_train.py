"""Trains on the training set, and draws samples.

ray job submit --working-dir . -- python -m pipelines.quick_train --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

from nucleus_data.commands import run_pipeline

STEPS = (
    "quick_train",  # train the bundled model on them, and draw samples
)

if __name__ == "__main__":
    run_pipeline("quick_train", STEPS)
