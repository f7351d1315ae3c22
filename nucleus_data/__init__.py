"""Nucleus Data: curates, captions and shards image corpora, and proves that the data is good.

The proof is a quick training run.

    from nucleus_data import Corpus
    corpus = Corpus("s3://bucket/corpus")
    corpus.table("selection").filter("state = 'rejected'").aggregate("reasons, count(*)").show()

The command `nucleus --help` lists the stages; README.md draws the line from pictures to a trained
model.
"""

from nucleus_data.corpus import Corpus

__version__ = "0.1.0"
__all__ = ["Corpus", "__version__"]
