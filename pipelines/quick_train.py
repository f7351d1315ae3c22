"""Train on the training set, and sample.

ray job submit --working-dir . -- python -m pipelines.quick_train --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

import sys

from nucleus_data.commands.cli import main

if __name__ == "__main__":
    main(["quick-train", *sys.argv[1:]])
