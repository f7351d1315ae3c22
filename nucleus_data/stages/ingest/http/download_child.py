"""The process that runs img2dataset for one shard.

`download` starts it and writes its arguments, as JSON, to its standard input.

It uses img2dataset's downloader without its process pool and logger, so that there is only one
process, which ends when its parent does and closes its standard input.
"""

import json
import os
import socket
import sys
import threading
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from nucleus_data.stages.ingest.http.addresses import refused

SHARD_DIGITS = 5


def guard_addresses(allow_hosts: Collection[str]) -> None:
    """Makes name resolution in this process refuse hosts at private addresses (redirects included).

    Args:
        allow_hosts: Hosts that may have any address, in addition to the environment's proxies.
    """
    proxies = {urlsplit(proxy).hostname for proxy in getproxies().values()}
    exempt = {*allow_hosts, *proxies}
    resolve = socket.getaddrinfo

    def guarded(host: Any, *arguments: Any, **named: Any) -> Any:
        found = resolve(host, *arguments, **named)
        if host not in exempt:
            why = refused(str(host), sorted({str(entry[4][0]) for entry in found}))
            if why is not None:
                raise OSError(f"private_address: {why}")
        return found

    socket.getaddrinfo = guarded


def _end_with_parent() -> None:
    # Avoids sys.stdin, whose lock would be held while the interpreter shuts down.
    while os.read(sys.stdin.fileno(), 1024):
        continue
    os._exit(1)


def main() -> None:
    """Downloads one shard: writes 00000.tar and 00000.parquet to the given folder."""
    arguments = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    guard_addresses(arguments["allow_hosts"])

    from img2dataset.downloader import Downloader
    from img2dataset.resizer import Resizer
    from img2dataset.writer import WebDatasetSampleWriter

    downloader = Downloader(
        sample_writer_class=WebDatasetSampleWriter,
        resizer=Resizer(
            image_size=256,
            resize_mode="no",
            resize_only_if_bigger=False,
            disable_all_reencoding=True,
        ),
        thread_count=arguments["threads"],
        save_caption=False,
        extract_exif=False,
        output_folder=arguments["folder"],
        column_list=["url"],
        timeout=arguments["timeout_s"],
        # Keys are zero-padded indices; padding does not work for fewer than 10.
        number_sample_per_shard=max(10, arguments["count"]),
        oom_shard_count=SHARD_DIGITS,
        compute_hash=None,
        verify_hash_type=None,
        encode_format="jpg",
        retries=arguments["retries"],
        user_agent_token=None,
        disallowed_header_directives=["noai", "noimageai", "noindex", "noimageindex"],
    )
    downloader.download_shard((0, arguments["shard"]))


if __name__ == "__main__":
    main()
