"""Downloads a URL list with the configured downloader: the built-in fetcher, or img2dataset."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nucleus_data.corpus.blocked import NOTHING
from nucleus_data.stages.ingest.fetch_settings import FetchSettings
from nucleus_data.stages.ingest.http.outcome import Download

# Keys added to a claim's settings: registered domain -> number of workers that share it; and the
# block list, whose URLs and hosts are not followed in redirects (img2dataset can't do that).
SHARE = "share"
BLOCKED = "blocked"


def settings_of(said: dict[str, Any]) -> FetchSettings:
    """Extracts the download settings from a claim's settings."""
    known = FetchSettings.model_fields.keys()
    return FetchSettings(**{name: said[name] for name in known & said.keys()})


def resumes(said: dict[str, Any]) -> bool:
    """Returns whether a killed download can be resumed."""
    return settings_of(said).downloader == "nucleus"


def require(downloader: str) -> None:
    """Checks that a downloader is installed. Raises RequestError with the install command."""
    if downloader == "img2dataset":
        from nucleus_data.stages.ingest.http.download import require_img2dataset

        require_img2dataset()


def download(
    urls: Sequence[str | None],
    settings: dict[str, Any],
    folder: Path,
) -> Iterator[Download]:
    """Downloads URLs; one outcome each, in order.

    Args:
        urls: URLs as they came.
        settings: A claim's settings (see `IngestSettings.for_claim`), with `SHARE` and `BLOCKED`.
        folder: Folder for temporary files; empty, or left by a killed download.

    Raises:
        RequestError: img2dataset is configured, but not installed.
    """
    options = settings_of(settings)
    if options.downloader == "img2dataset":
        from nucleus_data.stages.ingest.http.download import download as by_img2dataset

        return by_img2dataset(urls, settings, folder)
    from nucleus_data.stages.ingest.http.failures import Failure
    from nucleus_data.stages.ingest.http.fetcher import fetch_urls

    blocked = settings.get(BLOCKED, NOTHING)

    def refused(url: str) -> Failure | None:
        refusal = blocked.of_url(url)
        return refusal and Failure(refusal.reason, f"led on; {refusal.detail}")

    shares = settings.get(SHARE, {})
    most = max(shares.values(), default=1)  # for unlisted domains, reached by redirects
    return fetch_urls(
        urls,
        options,
        int(settings["max_bytes"]),
        folder,
        share=lambda domain: shares.get(domain, most),
        refused=refused,
    )
