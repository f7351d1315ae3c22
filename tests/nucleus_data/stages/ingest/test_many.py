"""Sources of more rows than the memory that is given to planning."""

import pytest

from nucleus_data.stages.ingest.listing import spool
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings

ROWS = 300_000


@pytest.mark.slow
def test_a_list_of_urls_and_the_same_again(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "MEMORY_LIMIT", "48MB")  # too little for a window over the rows
    source = tmp_path / "list.txt"
    urls = (f"https://h{n % 500}.ex{n % 50}.com/p/{n % (ROWS - 1000)}.jpg\n" for n in range(ROWS))
    source.write_text("".join(urls))
    settings = IngestSettings(source=str(source))
    plan = plan_ingest(corpus, settings)
    assert (plan.found, plan.new, plan.already) == (ROWS, ROWS, 0)
    plan = plan_ingest(corpus, settings)
    assert (plan.found, plan.new, plan.changes.gone) == (ROWS, 0, 0)
