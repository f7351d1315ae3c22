r"""The whole line, from a source to the report.

ray job submit --working-dir . -- python -m pipelines.all --config configs/full/recipe.yaml \\
    corpus=s3://bucket/corpus ingest.source=s3://bucket/urls.parquet
"""

from nucleus_data.commands import run_pipeline

STEPS = (
    "ingest",  # take what is new in the source into image shards
    "inspect",  # decode every image once, and measure its signals
    "dedup",  # find all pairs of duplicates, and confirm each
    "compare",  # look at the copies of each picture together, and rank them
    "select",  # decide by rules; keep the best of each cluster
    "embed",  # embed what may still be kept
    "score",  # score its vectors: heads, similarity of picture and caption
    "select",  # decide again, now by the scores too
    "caption",  # caption what is kept, several times each
    "score_captions",  # compare them with their pictures, if score_captions.variants says so
    "shard",  # write aspect-bucketed training shards
    "encode",  # encode them ahead of the training, if encode.enabled says so
    "quick_train",  # train the bundled model on them, and draw samples
    "report",  # write one page about all of it
)

if __name__ == "__main__":
    run_pipeline("all", STEPS, chooses_at_start=True)
