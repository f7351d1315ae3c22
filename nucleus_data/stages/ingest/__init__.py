"""From folders, tars, img2dataset's output and URL lists to image shards and records.

    settings = IngestSettings(source="pictures/")
    plan = plan_ingest(corpus, settings)
    for number in plan.todo:
        build_shard(corpus, number)

- `stage`: the stage; `plan`: lists the source and claims image shards; `build`: builds one.
- `listing/`: where rows come from; `http/`: how a URL is fetched; `fetch`: a claim's images.
- `retry`: claims for downloads that failed in a way that may pass.
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
