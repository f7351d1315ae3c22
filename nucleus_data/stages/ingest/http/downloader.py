"""Who downloads a URL list: our own fetcher, or img2dataset."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nucleus_data.corpus.blocked import NOTHING
from nucleus_data.stages.ingest.fetch_settings import FetchSettings
from nucleus_data.stages.ingest.http.outcome import Download

SHARE = "share"  # beside a claim's settings: registered domain -> workers that ask it at once
# The block list: no redirect is followed to its URLs and hosts. img2dataset cannot be told.
BLOCKED = "blocked"


def settings_of(said: dict[str, Any]) -> FetchSettings:
    """The settings of downloads among those of a claim."""
    known = FetchSettings.model_fields.keys()
    return FetchSettings(**{name: said[name] for name in known & said.keys()})


def resumes(said: dict[str, Any]) -> bool:
    """Whether a killed download is taken up where it was."""
    return settings_of(said).downloader == "nucleus"


def require(downloader: str) -> None:
    """Raises RequestError, with the install command, if a downloader is missing."""
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
        settings: Those of a claim (see `IngestSettings.for_claim`), `SHARE` and `BLOCKED`.
        folder: For temporary files: an empty one, or one that a killed download left.

    Raises:
        RequestError: img2dataset is asked for and not installed.
    """
    said = settings_of(settings)
    if said.downloader == "img2dataset":
        from nucleus_data.stages.ingest.http.download import download as by_img2dataset

        return by_img2dataset(urls, settings, folder)
    from nucleus_data.stages.ingest.http.fetcher import fetch_urls

    shares = settings.get(SHARE, {})
    most = max(shares.values(), default=1)  # of domains that redirects lead to
    return fetch_urls(
        urls,
        said,
        int(settings["max_bytes"]),
        folder,
        share=lambda domain: shares.get(domain, most),
        blocked=settings.get(BLOCKED, NOTHING),
    )
