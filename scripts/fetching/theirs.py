"""img2dataset, for `bench_fetch`: as an ingest calls it, and with its own settings."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.fetching.cost import Cost, measured

THREADS = 64


def img2dataset(urls: Sequence[str], hosts: Sequence[str], settings: dict[str, Any]) -> Cost:
    """img2dataset's processor time, its process's among it."""
    import resource

    from nucleus_data.stages.ingest.http.download import download

    def work() -> int:
        said = {"timeout_s": 30, "retries": 0, "threads": THREADS, "allow_hosts": ["127.0.0.1"]}
        with tempfile.TemporaryDirectory(prefix="bench-fetch-") as folder:
            images = 0
            for found in download(urls, said, Path(folder)):
                if found.data is not None:
                    hashlib.sha256(found.data).hexdigest()
                    images += 1
            return images

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = measured(work)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cost.processor_s + child, cost.seconds, after.ru_maxrss / 1024, cost.images)


def as_it_comes(urls: Sequence[str], hosts: Sequence[str], settings: dict[str, Any]) -> Cost:
    """img2dataset with its own settings, into a tar.

    That is: 256 threads; each picture decoded, put into a square of 256 pixels and encoded anew;
    its EXIF; SHA-256.
    """
    import pyarrow as pa
    from img2dataset.downloader import Downloader
    from img2dataset.resizer import Resizer
    from img2dataset.writer import WebDatasetSampleWriter

    def work() -> int:
        with tempfile.TemporaryDirectory(prefix="bench-fetch-") as folder:
            shard = Path(folder) / "urls.arrow"
            table = pa.table({"url": list(urls)})
            with pa.OSFile(str(shard), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            Downloader(
                sample_writer_class=WebDatasetSampleWriter,
                resizer=Resizer(image_size=256, resize_mode="border", resize_only_if_bigger=False),
                thread_count=256,
                save_caption=False,
                extract_exif=True,
                output_folder=folder,
                column_list=["url"],
                timeout=30,
                number_sample_per_shard=len(urls),
                oom_shard_count=5,
                compute_hash="sha256",
                verify_hash_type=None,
                encode_format="jpg",
                retries=0,
                user_agent_token=None,
                disallowed_header_directives=["noai", "noimageai", "noindex", "noimageindex"],
            ).download_shard((0, str(shard)))
            return (Path(folder) / "00000.tar").read_bytes().count(b".jpg\0")

    return measured(work)
