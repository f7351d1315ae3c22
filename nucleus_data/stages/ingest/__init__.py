"""From folders, tars, img2dataset's output and URL lists to image shards and records.

    settings = IngestSettings(source="pictures/")
    plan = plan_ingest(corpus, settings)
    for number in plan.todo:
        build_shard(corpus, number)

- `stage`: the stage; `plan`: lists the source and claims image shards; `build`: builds one.
- `listing/`: where rows come from; `http/`: how a URL is fetched; `fetch`: a claim's images.
- `retry`: claims for downloads that failed in a way that may pass.
"""
