from collections import Counter

from nucleus_data.runner.work import Summary, TellingTask
from nucleus_data.stages.ingest.progress import extra_counts, on_bar, told
from nucleus_data.stages.ingest.stage import BuildTask

SUMMARY = Summary(
    rows=4_000,
    done=3_000,
    failed=Counter(http_404=600, dns=300, timeout=90, tls=10),
    bytes=1_234_567_890,
    extra=extra_counts(
        {
            "hosts": {"slow.example.com": 40, "down.example.org": 70},
            "captions": {"too_long": 3},
            "columns_left_out": 12,
        }
    ),
)


def test_the_bar_says_how_many_how_fast_how_much_and_what_is_wrong():
    assert on_bar(SUMMARY, 10.0) == (
        "3,000 images, 300/s, 1.23 GB, http_404 600, dns 300, timeout 90, 2 hosts in trouble"
    )
    assert on_bar(Summary(), 0.0) == "0 images, 0/s, 0 B"


def test_lines_at_the_end():
    assert told(SUMMARY, 10.0, "c") == [
        "3,000 images, 1.23 GB: 300.0 images/s, 123 MB/s",
        "2 hosts were slowed down for or given up; most URLs without a picture: "
        "down.example.org 70, slow.example.com 40. All: c/hosts/*.parquet",
        "12 values of JSON files are in no column: an image shard has 256 upstream columns at "
        "most. Which: records with source.columns_left_out",
        "3 captions were there and could not be taken (too_long 3); their pictures are. Which: "
        "records with a source.caption_error",
    ]
    assert told(Summary(), 10.0, "c") == []


def test_building_shards_tells_more_than_a_count():
    task = BuildTask("c", {}, {})
    assert isinstance(task, TellingTask)
    assert task.progress(SUMMARY, 10.0) == on_bar(SUMMARY, 10.0)
    assert task.told(SUMMARY, 10.0) == told(SUMMARY, 10.0, "c")
