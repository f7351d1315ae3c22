"""Ingest: from folders, tars, img2dataset's output and URL lists to image shards and records.

    settings = IngestSettings(source="pictures/")
    plan = plan_ingest(corpus, settings)
    for number in plan.todo:
        build_shard(corpus, number)

`plan_ingest` lists the source and claims image shards; `build_shard` builds one. Every upstream row
becomes a record, with its image or with the reason why it has none. `plan_retry` claims shards for
downloads that failed in a way that may pass.
"""

from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.plan import IngestPlan, plan_ingest
from nucleus_data.stages.ingest.retry import RetryPlan, plan_retry
from nucleus_data.stages.ingest.settings import IngestSettings

__all__ = [
    "IngestPlan",
    "IngestSettings",
    "RetryPlan",
    "build_shard",
    "plan_ingest",
    "plan_retry",
]
