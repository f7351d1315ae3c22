"""Downloads a shard's URLs with img2dataset 1.47, in a process of its own.

Before anything is requested, every URL's scheme and resolved addresses are checked
(`addresses.check_urls`); the process resolves names through the same check again, so a redirect to
a private address, or a name that changes between check and request, is refused too (behind a proxy
the proxy decides). img2dataset then fetches with urllib and keeps the original bytes.

img2dataset can't honour Retry-After, back off between attempts, limit requests per domain, or limit
a body's size while reading it (`max_bytes` applies afterwards, so up to `threads` whole bodies are
in memory). A server that sends a byte now and then is only cut off by the shard's deadline; rows
without an answer by then are `not_reported`, which is retryable.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.http.addresses import check_urls
from nucleus_data.stages.ingest.http.outcome import Download
from nucleus_data.stages.ingest.listing.tar_walk import Member, TarWalk
from nucleus_data.stages.ingest.reasons import download_reason, is_retryable

START_S = 120


def require_img2dataset() -> None:
    """Checks that img2dataset is installed. Raises RequestError with the install command."""
    if importlib.util.find_spec("img2dataset") is None:
        raise RequestError(
            "ingest.downloader=img2dataset needs img2dataset: pip install 'nucleus-data[download]'"
        )


def download(
    urls: Sequence[str | None], settings: dict[str, Any], folder: Path
) -> Iterator[Download]:
    """Downloads URLs; one outcome each, in order.

    Args:
        urls: URLs as they came.
        settings: `timeout_s`, `retries`, `threads`, `allow_hosts` (see `IngestSettings`).
        folder: An empty folder for img2dataset's files.

    Raises:
        RequestError: img2dataset is not installed.
        RuntimeError: Its process failed; the message has the end of its output.
    """
    require_img2dataset()
    checked = check_urls(
        [url or "" for url in urls], frozenset(settings["allow_hosts"]), settings["threads"]
    )
    allowed = [i for i, check in enumerate(checked) if check.url is not None]
    if allowed:
        _run([checked[i].url or "" for i in allowed], settings, folder)
    place = {i: n for n, i in enumerate(allowed)}
    members, messages = _found(folder)
    tar = folder / "00000.tar"
    with (tar if tar.exists() else Path(os.devnull)).open("rb") as file:
        for i, check in enumerate(checked):
            if check.reason is not None:
                yield Download(None, check.reason, check.detail, is_retryable(check.reason))
                continue
            member = members.get(place[i])
            if member is not None:
                file.seek(member.offset)
                yield Download(file.read(member.size))
                continue
            message = messages.get(place[i])
            reason = "not_reported" if message is None else download_reason(message)
            detail = message or "the download ended without an answer for this URL"
            yield Download(None, reason, detail, is_retryable(reason))


def _run(urls: list[str], settings: dict[str, Any], folder: Path) -> None:
    """Runs img2dataset on some URLs until it ends, or until the deadline."""
    shard = folder / "urls.arrow"
    table = pa.table({"url": pa.array(urls, pa.string())})
    with pa.OSFile(str(shard), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    threads = min(settings["threads"], len(urls))
    attempts = settings["retries"] + 1
    # Twice the time that all attempts may take. As urllib's time-out applies to each read, only
    # this stops a server that sends a byte now and then.
    deadline_s = START_S + 2 * settings["timeout_s"] * attempts * math.ceil(len(urls) / threads)
    arguments = {
        "shard": str(shard),
        "count": len(urls),
        "folder": str(folder),
        "threads": threads,
        "timeout_s": settings["timeout_s"],
        "retries": settings["retries"],
        "allow_hosts": list(settings["allow_hosts"]),
    }
    log = folder / "log.txt"
    command = [sys.executable, "-m", "nucleus_data.stages.ingest.http.download_child"]
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONWARNINGS": "ignore"}
    root = str(Path(__file__).resolve().parents[4])
    environment["PYTHONPATH"] = os.pathsep.join(
        part for part in (root, environment.get("PYTHONPATH")) if part
    )
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment
        )
        assert child.stdin is not None
        # The child ends when its standard input closes, so it does not outlive this process.
        try:
            child.stdin.write(json.dumps(arguments).encode() + b"\n")
            child.stdin.flush()
            code = child.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            return
        except BrokenPipeError:
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            with suppress(BrokenPipeError):
                child.stdin.close()
    if code != 0:
        tail = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"img2dataset exited with code {code}: {tail}")


def _found(folder: Path) -> tuple[dict[int, Member], dict[int, str]]:
    """Reads img2dataset's output: images, and error messages, by index in the list."""
    members: dict[int, Member] = {}
    tar, table = folder / "00000.tar", folder / "00000.parquet"
    if tar.exists():
        with tar.open("rb") as file:
            for member in TarWalk(file, tar.stat().st_size):
                if member.suffix == ".jpg":
                    members[int(member.key)] = member
    try:
        rows = pq.read_table(table, columns=["key", "status", "error_message"]).to_pylist()
    except (OSError, pa.ArrowException):
        return members, {}  # stopped at the deadline: only the tar exists
    return members, {
        int(row["key"]): str(row["error_message"] or row["status"])
        for row in rows
        if row["status"] != "success"
    }
