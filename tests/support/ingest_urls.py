"""A process that ingests a URL list of hosts on this machine, to be killed: `-m … CORPUS LIST`."""

import os
import sys

from nucleus_data.corpus import Corpus
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.web import HERE, QUICK


def main() -> None:
    """Plans, and builds what is not built."""
    uri, source, threads = sys.argv[1:]
    corpus = Corpus(uri, create=True)
    said = {**QUICK, "timeout_s": 5, "allow_hosts": (HERE,), "threads": int(threads)}
    for number in plan_ingest(corpus, IngestSettings(source=source, breaker=0, **said)).todo:
        build_shard(corpus, number)


if __name__ == "__main__":
    main()
    # As `nucleus` ends: an ordinary exit may trip over threads of DuckDB and pyarrow.
    os._exit(0)
