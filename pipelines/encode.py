"""Encodes the training set's pictures and captions ahead of a training.

ray job submit --working-dir . -- python -m pipelines.encode --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

from nucleus_data.commands import run_pipeline

STEPS = (
    "encode",  # encode the set's pictures and captions, if encode.enabled says so
)

if __name__ == "__main__":
    run_pipeline("encode", STEPS)
