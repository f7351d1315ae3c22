import os
import time
from collections import Counter
from contextlib import ExitStack

from nucleus_data.runner.work import Summary, TellingTask
from nucleus_data.stages.ingest.http.told import NOW, HostCounts, heard, tell
from nucleus_data.stages.ingest.progress import Planning, extra_counts, on_bar, told
from nucleus_data.stages.ingest.stage import BuildTask
from nucleus_data.stages.ingest.work_folder import drop_kept, kept_folder

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


def test_the_planning_of_a_long_list_is_told_every_ten_seconds():
    said, times = [], iter([0.0, 4.0, 11.0, 12.0, 30.0])
    planning = Planning(said.append, lambda: next(times))
    for count in (10_000, 20_000, 30_000, 1_040_000):
        planning.at(count, "found")
    assert said == ["planning: 20,000 rows found", "planning: 1,040,000 rows found"]


def test_the_bar_says_how_many_how_fast_how_much_and_what_is_wrong():
    assert on_bar(SUMMARY, 10.0) == (
        "3,000 images, 300/s, 1.23 GB, http_404 600, dns 300, timeout 90, 2 hosts in trouble"
    )
    assert on_bar(Summary(), 0.0) == "0 images, 0/s, 0 B"


def test_lines_at_the_end():
    assert told(SUMMARY, 10.0, "c") == [
        "3,000 images, 1.23 GB: 300.0 images/s, 123 MB/s",
        "requests to 2 hosts were slowed down or given up; hosts with the most failed URLs: "
        "down.example.org 70, slow.example.com 40. All: c/hosts/*.parquet",
        "12 values of JSON files were left out: an image shard has at most 256 upstream columns. "
        "Affected: records with source.columns_left_out",
        "3 captions could not be ingested (too_long 3); their pictures were. Affected: "
        "records with a source.caption_error",
    ]
    assert told(Summary(), 10.0, "c") == []


def test_building_shards_tells_more_than_a_count(corpus):
    task = BuildTask(corpus.uri, {}, {})
    assert isinstance(task, TellingTask)
    assert task.progress(SUMMARY, 10.0) == on_bar(SUMMARY, 10.0)
    assert task.told(SUMMARY, 10.0) == told(SUMMARY, 10.0, corpus.uri)


def counts_of(folder, images, host, age_s=0.0):
    """Leaves the counts of a fetcher in its folder, as they were told so long ago."""
    slow = HostCounts(images=images, bytes=10**9, failed=7, slowed_s=1.0)
    tell(folder, {host: slow, "fast.example.com": HostCounts(images=5)}, {"dns": 7})
    when = time.time() - age_s
    os.utime(folder / NOW, (when, when))


def test_shards_that_are_being_fetched_are_on_the_bar(corpus, tmp_path):
    task = BuildTask(corpus.uri, {}, {})
    with ExitStack() as stack:
        kept = [stack.enter_context(kept_folder(corpus, n, tmp_path)) for n in range(4)]
        counts_of(kept[0], 95, "late.example.com")
        counts_of(kept[1], 195, "slow.example.com")  # in trouble before
        counts_of(kept[2], 9_999, "old.example.com", age_s=60)  # of a process that was killed
        (kept[3] / NOW).write_text('{"images": 1')  # of somebody else's
        assert task.progress(SUMMARY, 10.0) == (
            "3,300 images, 330/s, 3.23 GB, http_404 600, dns 314, timeout 90, 3 hosts in trouble"
        )
        assert SUMMARY.done == 3_000
    for number in range(4):
        drop_kept(corpus, number)
    assert task.progress(SUMMARY, 10.0) == on_bar(SUMMARY, 10.0)


def test_counts_that_cannot_be_written_cost_nothing_else(tmp_path):
    tell(tmp_path / "gone", {"h": HostCounts(images=1)}, {})
    assert heard(tmp_path / "gone", 0.0) is None
