"""Caption again, where prompt, model or sampling changed, and make the training set anew.

ray job submit --working-dir . -- python -m pipelines.recaption --config configs/full/recipe.yaml corpus=s3://bucket/corpus
"""

import sys

from nucleus_data.commands.cli import main

if __name__ == "__main__":
    main(["recaption", *sys.argv[1:]])
