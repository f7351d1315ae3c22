"""Captions the kept images.

ray job submit --working-dir . -- python -m pipelines.caption --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

from nucleus_data.commands import run_pipeline

STEPS = (
    "caption",  # caption what is kept, several times each
)

if __name__ == "__main__":
    run_pipeline("caption", STEPS)
