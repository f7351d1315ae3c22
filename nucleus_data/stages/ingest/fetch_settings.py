"""What a person says about downloads."""

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

# What a page's owner may say in a header, by the name that switches it.
OPT_OUTS = ("noai", "noimageai", "noml", "none", "noindex", "noimageindex", "tdm-reservation")


class FetchSettings(BaseModel):
    """Those settings of the section `ingest` that say how URLs are asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    downloader: Literal["nucleus", "img2dataset"] = Field(
        "nucleus",
        description="Download: who asks; of what follows, img2dataset knows timeout_s, retries, "
        "threads and allow_hosts alone.",
    )
    timeout_s: float = Field(10.0, gt=0, le=600, description="Download: seconds a socket may wait.")
    retries: int = Field(2, ge=0, le=20, description="Download: further attempts for each URL.")
    threads: int = Field(64, ge=1, le=1024, description="Download: URLs at a time in one shard.")
    allow_hosts: tuple[str, ...] = Field(
        (),
        description="Download: host names or addresses that may be private (tests, an intranet). "
        "All others must resolve to public addresses only.",
    )
    contact: str | None = Field(
        None,
        max_length=200,
        description="Download: an e-mail address or a web page where you can be told to stop; it "
        "goes into the user agent. Lists of more than 1,000 hosts need one.",
    )
    deadline_s: float = Field(
        60.0, gt=0, le=3600, description="Download: seconds that one request may take in all."
    )
    min_rate: float = Field(
        1000.0,
        ge=0,
        description="Download: bytes a second that a body must bring, once `timeout_s` is over.",
    )
    max_wait: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="Download: seconds waited for a host at most; a longer Retry-After ends the "
        "row, to be retried later.",
    )
    redirects: int = Field(5, ge=0, le=20, description="Download: redirects of one URL, at most.")
    robots: bool = Field(True, description="Download: whether robots.txt is asked and obeyed.")
    max_crawl_delay: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="Download: seconds between requests that a robots.txt may ask for (Crawl-delay "
        "and Request-rate); a host that asks for more is not asked (crawl_delay).",
    )
    opt_out: tuple[Literal[OPT_OUTS], ...] = Field(  # type: ignore[valid-type]
        OPT_OUTS, description="Download: opt-outs in a header of the answer that are obeyed."
    )
    host_connections: int = Field(
        6, ge=1, le=1024, description="Download: connections to one host, of all workers together."
    )
    host_rate: float = Field(
        30.0, gt=0, description="Download: requests a second to one host, of all workers together."
    )
    domain_connections: int = Field(
        12, ge=1, le=4096, description="Download: the same for one registered domain (a.b.co.uk)."
    )
    domain_rate: float = Field(
        60.0, gt=0, description="Download: requests a second to one registered domain."
    )
    breaker: int = Field(
        10,
        ge=0,
        description="Download: failures in a row after which a host is left alone, at first for a "
        "second, after the fourth time for good (host_down); 0 never.",
    )
    proxy: str | None = Field(
        None,
        description="Download: URL of an HTTP proxy. Addresses are then the proxy's to check. That "
        "of the environment is not used.",
    )

    @field_validator("contact")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        """An address that a person can write to, and that may stand in a header."""
        if value is None or re.fullmatch(r"(https?://[^\s()@]+|[^\s()@/]+@[^\s()@/]+)", value):
            return value
        raise ValueError(
            f"must be an e-mail address or a web page (`data@example.org`, "
            f"`https://example.org/crawler`), got {value!r}"
        )

    @field_validator("proxy")
    @classmethod
    def _without_credentials(cls, value: str | None) -> str | None:
        """A proxy that may stand in a claim."""
        parts = urlsplit(value or "http://h")
        if parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc:
            return value
        raise ValueError(
            "must be http://HOST:PORT or https://HOST:PORT, without a name and a password: it is "
            "stored with the corpus"
        )

    def said(self) -> dict[str, Any]:
        """Those that were said and that claims of img2dataset's time do not have."""
        old = {"timeout_s", "retries", "threads", "allow_hosts"}
        names = (self.model_fields_set & FetchSettings.model_fields.keys()) - old
        return self.model_dump(mode="json", include=names)
