"""Curates what is ingested: measures, finds duplicates, decides.

ray job submit --working-dir . -- python -m pipelines.curate --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

from nucleus_data.commands import run_pipeline

STEPS = (
    "inspect",  # decode every image once, and measure its signals
    "dedup",  # find all pairs of duplicates, and confirm each
    "compare",  # look at the copies of each picture together, and rank them
    "select",  # decide by rules; keep the best of each cluster
    "embed",  # embed what may still be kept
    "score",  # score its vectors: heads, similarity of picture and caption
    "select",  # decide again, now by the scores too
)

if __name__ == "__main__":
    run_pipeline("curate", STEPS)
