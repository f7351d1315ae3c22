"""Caption the kept images.

ray job submit --working-dir . -- python -m pipelines.caption --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

import sys

from nucleus_data.commands.cli import main

if __name__ == "__main__":
    main(["caption", *sys.argv[1:]])
