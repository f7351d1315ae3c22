"""Compares what servers report about running the model, among them and with the settings.

A server's dtype, its vLLM arguments and its context length are set when it is started, not by
`caption.dtype` and `caption.vllm_args`. As these settings are in the config hash of captions if
they change text, they are compared with what the server reports. All functions are pure.

| reported by | what |
|---|---|
| `/v1/models` of vLLM | `max_model_len` |
| `/version` of vLLM | its version |
| `/metrics` of vLLM | the type of the cache of keys and values |
| `/server_info` of vLLM with `VLLM_SERVER_DEV_MODE=1` | dtype and quantization |
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.servers import Told
from nucleus_data.engines.vllm_arguments import changing_text

CACHE = re.compile(r'^vllm:cache_config_info\{.*?\bcache_dtype="([^"]*)"', re.MULTILINE)
AUTO = "auto"


def told(version: str, model: Any, metrics: Any, info: Any) -> Told:
    """Extracts what a server reports about itself from its answers.

    Args:
        version: The server's version; empty if unknown.
        model: The model's entry in `/v1/models`.
        metrics: The text of `/metrics`; None or anything else if not available.
        info: The JSON of `/server_info`; None or anything else if not available.
    """
    room = getattr(model, "max_model_len", None)
    found = CACHE.search(metrics) if isinstance(metrics, str) else None
    config: Any = info
    for key in ("vllm_config", "model_config"):
        config = config.get(key) if isinstance(config, Mapping) else None
    config = config if isinstance(config, Mapping) else {}
    dtype = config.get("dtype")
    return Told(
        version=version or None,
        max_model_len=room if isinstance(room, int) else None,
        kv_cache_dtype=found[1] if found else None,
        dtype=str(dtype).removeprefix("torch.") if dtype else None,
        quantization=str(config["quantization"]) if config.get("quantization") else None,
    )


def unlike(url: str, found: Told, settings: EngineSettings) -> str:
    """Returns an error message if a server differs from the settings; empty if no difference shows.

    Args:
        url: The server's URL.
        found: What the server reports.
        settings: The engine's settings, with the dtype and arguments that are in the config hash.
    """
    given = settings.vllm_args
    wanted = {
        "caption.dtype": (settings.dtype, found.dtype),
        "caption.vllm_args.kv_cache_dtype": (given.get("kv_cache_dtype"), found.kv_cache_dtype),
        "caption.vllm_args.quantization": (given.get("quantization"), found.quantization),
    }
    for key, (setting, actual) in wanted.items():
        if setting not in (None, AUTO) and actual is not None and str(setting) != actual:
            option = f"--{key.rpartition('.')[2].replace('_', '-')} {setting}"
            return (
                f"{key} is {setting!r}, but {url} has {actual!r}; start it with {option}, or set"
                f" {key}={actual} (which makes other tables)"
            )
    return ""


def differing(servers: Mapping[str, Told]) -> str:
    """Returns an error message if servers differ in a way that changes texts; otherwise empty."""
    for name in ("dtype", "quantization", "kv_cache_dtype"):
        values = {url: getattr(one, name) for url, one in servers.items() if getattr(one, name)}
        if len(set(values.values())) > 1:
            shown = ", ".join(f"{url} has {value!r}" for url, value in values.items())
            return (
                f"caption.servers: {name} differs ({shown}), but all captions of a table must be"
                " made in the same way; start the servers with the same arguments"
            )
    return ""


def notes(servers: Mapping[str, Told], settings: EngineSettings) -> Iterator[str]:
    """Yields warnings for the worker's log, also about what could not be compared.

    Args:
        servers: URL -> report, for the servers that answered.
        settings: The engine's settings.
    """
    versions = {url: one.version for url, one in servers.items() if one.version}
    if len(set(versions.values())) > 1:
        shown = ", ".join(f"{url} is {version}" for url, version in versions.items())
        yield f"caption.servers: the versions differ ({shown}); some texts may differ"
    for url, one in servers.items():
        if one.max_model_len is not None and one.max_model_len < settings.max_model_len:
            yield (
                f"caption.servers: {url} has room for {one.max_model_len} tokens, but"
                f" caption.max_model_len is {settings.max_model_len}; requests that need more fail"
                " there as too_long"
            )
    hidden = set()
    if settings.dtype != AUTO and any(one.dtype is None for one in servers.values()):
        hidden.add(f"dtype={settings.dtype}")
    for name, value in changing_text(settings.vllm_args).items():
        known = name in Told.__dataclass_fields__
        if not known or any(asdict(one)[name] is None for one in servers.values()):
            hidden.add(f"{name}={value}")
    if hidden:
        yield (
            f"caption.servers: {', '.join(sorted(hidden))}: not compared, as not every server"
            " reports it (vLLM reports dtype and quantization with VLLM_SERVER_DEV_MODE=1); start"
            " all servers with the same value"
        )
