"""Registered domains (`a.b.co.uk` is of `b.co.uk`), by the list that tldextract brings along."""

import ipaddress
from functools import cache, lru_cache
from typing import Any


@lru_cache(maxsize=100_000)
def registered_domain(host: str) -> str:
    """The registered domain of a host; the host itself where there is none (addresses, names)."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return str(_list().extract_str(host).top_domain_under_public_suffix) or host


@cache
def _list() -> Any:
    import tldextract

    # Never fetched, never cached on disk: the list that is in the package.
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
