"""Settings of downloads."""

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

# What a page's owner may say in a header, by the name that switches it.
OPT_OUTS = ("noai", "noimageai", "noml", "none", "noindex", "noimageindex", "tdm-reservation")


class FetchSettings(BaseModel):
    """The settings of the section `ingest` for downloads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    downloader: Literal["nucleus", "img2dataset"] = Field(
        "nucleus",
        description="Download: program that fetches the URLs. Of the settings below, img2dataset "
        "uses only `timeout_s`, `retries`, `threads` and `allow_hosts`.",
    )
    timeout_s: float = Field(
        10.0,
        gt=0,
        le=600,
        description="Download: maximum seconds to wait for a connection or for data.",
    )
    retries: int = Field(
        2,
        ge=0,
        le=20,
        description="Download: maximum number of further attempts per URL, after failures that may "
        "be temporary (a time-out, a lost connection, HTTP 429 or 5xx).",
    )
    threads: int = Field(
        64,
        ge=1,
        le=1024,
        description="Download: number of URLs fetched concurrently, per image shard.",
    )
    allow_hosts: tuple[str, ...] = Field(
        (),
        description="Download: host names or addresses that may be private, for tests or an "
        "intranet. All other hosts must resolve to public addresses only.",
    )
    contact: str | None = Field(
        None,
        max_length=200,
        description="Download: e-mail address or web page at which site owners can ask you to "
        "stop; it is sent in the user agent. Required for lists of more than 1,000 hosts.",
    )
    deadline_s: float = Field(
        60.0, gt=0, le=3600, description="Download: maximum seconds for one request in total."
    )
    min_rate: float = Field(
        1000.0,
        ge=0,
        description="Download: minimum average speed of a response body, in bytes per second, "
        "checked once `timeout_s` is over; 0: no minimum.",
    )
    max_wait: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="Download: maximum seconds to wait for a host; if its Retry-After asks for "
        "more, the URL fails, and can be retried later.",
    )
    redirects: int = Field(
        5, ge=0, le=20, description="Download: maximum number of redirects per URL."
    )
    robots: bool = Field(
        True, description="Download: whether to read each host's robots.txt and obey it."
    )
    max_crawl_delay: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="Download: maximum seconds between requests that a robots.txt may ask for "
        "(Crawl-delay and Request-rate); a host that asks for more gets no requests "
        "(crawl_delay).",
    )
    opt_out: tuple[Literal[OPT_OUTS], ...] = Field(  # type: ignore[valid-type]
        OPT_OUTS,
        description="Download: opt-outs in response headers (X-Robots-Tag, TDM-Reservation) that "
        "are obeyed.",
    )
    host_connections: int = Field(
        6,
        ge=1,
        le=1024,
        description="Download: maximum number of connections to one host, of all workers together.",
    )
    host_rate: float = Field(
        30.0,
        gt=0,
        description="Download: maximum requests per second to one host, of all workers together.",
    )
    domain_connections: int = Field(
        12,
        ge=1,
        le=4096,
        description="Download: maximum number of connections to one registered domain (b.co.uk "
        "for a.b.co.uk), of all workers together.",
    )
    domain_rate: float = Field(
        60.0,
        gt=0,
        description="Download: maximum requests per second to one registered domain, of all "
        "workers together.",
    )
    breaker: int = Field(
        10,
        ge=0,
        description="Download: number of consecutive failures after which a host is paused, at "
        "first for a second, then longer, and the fourth time given up (host_down); 0: never.",
    )
    proxy: str | None = Field(
        None,
        description="Download: URL of an HTTP proxy, which then has to check the addresses "
        "itself; null: no proxy. Proxies set in the environment are ignored.",
    )

    @field_validator("contact")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        """An address that a person can write to, and that may stand in a header."""
        if value is None or re.fullmatch(r"(https?://[^\s()@]+|[^\s()@/]+@[^\s()@/]+)", value):
            return value
        raise ValueError(
            "must be an e-mail address or a web page (`data@example.org`, "
            "`https://example.org/crawler`)"
        )

    @field_validator("proxy")
    @classmethod
    def _without_credentials(cls, value: str | None) -> str | None:
        """A proxy that may stand in a claim."""
        parts = urlsplit(value or "http://h")
        if parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc:
            return value
        raise ValueError(
            "must be http://HOST:PORT or https://HOST:PORT, without a user name or password, "
            "because it is stored with the corpus"
        )

    def said(self) -> dict[str, Any]:
        """Those that were said and that claims of img2dataset's time do not have."""
        old = {"timeout_s", "retries", "threads", "allow_hosts"}
        names = (self.model_fields_set & FetchSettings.model_fields.keys()) - old
        return self.model_dump(mode="json", include=names)
