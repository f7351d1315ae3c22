"""Write training shards.

ray job submit --working-dir . -- python -m pipelines.shard --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

import sys

from nucleus_data.commands.cli import main

if __name__ == "__main__":
    main(["shard", *sys.argv[1:]])
