"""Planning a long list of URLs, as an ingest does before it asks the first."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.fetching.cost import Cost, measured

HOSTS = 50_000


def planning(urls: Sequence[str], hosts: Sequence[str], settings: dict[str, Any]) -> Cost:
    """A list of `settings["count"]` URLs planned into a corpus: all before the first is asked."""
    from nucleus_data.corpus import Corpus
    from nucleus_data.domains import registered_domain
    from nucleus_data.stages.ingest.plan import plan_ingest
    from nucleus_data.stages.ingest.settings import IngestSettings

    registered_domain("example.com")  # reads its list, once a process
    with tempfile.TemporaryDirectory(prefix="bench-fetch-") as folder:
        source = Path(folder) / "list.txt"
        with source.open("w") as file:
            for n in range(settings["count"]):
                host = n % HOSTS
                file.write(f"https://h{host}.example{host // 3}.com/pictures/{n}.jpg\n")
        corpus = Corpus(f"{folder}/corpus", create=True)
        said = IngestSettings(source=str(source), contact="bench@example.org")
        return measured(lambda: plan_ingest(corpus, said).new)
