"""Which model: a packaged one, a folder or a hub name; and its revision, for config hashes."""

import functools
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleus_data.errors import RequestError

NANO = "nano"
ASSETS = Path(__file__).resolve().parent / "assets"
# What decides a model's output: configurations, weights, tokenizer. A README does not.
CONTENT = {".json", ".jinja", ".model", ".safetensors", ".txt"}


@dataclass(frozen=True)
class ModelKind:
    """One setting that names a model.

    Attributes:
        key: The setting, for messages, for example `caption.model`.
        nano: Folder of the packaged one.
        config: File that such a folder must have, beside its safetensors.
        revision_key: The setting of its revision.
        subfolder: Where in a hub's repository its configuration lies; ends with a slash.
    """

    key: str
    nano: Path
    config: str = "config.json"
    revision_key: str = ""
    subfolder: str = ""

    def __post_init__(self) -> None:
        beside = f"{self.key.rpartition('.')[0]}.revision"
        object.__setattr__(self, "revision_key", self.revision_key or beside)


CAPTIONER = ModelKind("caption.model", ASSETS / "captioner")
CLIP = ModelKind("embed.model", ASSETS / "clip", "open_clip_config.json")
HEADS = ModelKind("score.heads", ASSETS / "heads", "heads.json")
TEXT_ENCODER = ModelKind("quick_train.text.model", ASSETS / "captioner")
VAE = ModelKind(
    "quick_train.vae", ASSETS / "vae", revision_key="quick_train.vae_revision", subfolder="vae/"
)
HUB_ANSWERS_WITHIN_S = 8.0


@dataclass(frozen=True)
class ModelReference:
    """A model that was found, or a hub name that is taken at its word.

    Attributes:
        name: `nano`, the folder's own name, or the hub name; never a path.
        location: What an engine loads: a folder's path or the hub name.
        revision: 12 hex digits of the content for `nano` and folders; the given one for a hub name.
        local: Whether `location` is a folder, so that no request to a hub is needed.
    """

    name: str
    location: str
    revision: str
    local: bool

    def options(self) -> dict[str, Any]:
        """For `from_pretrained`: no request for a folder, the revision for a hub name."""
        return {"local_files_only": True} if self.local else {"revision": self.revision}


def resolve_model(model: str, revision: str | None, kind: ModelKind = CAPTIONER) -> ModelReference:
    """Finds a model and its revision.

    Args:
        model: `nano`, a folder, or a hub name such as `Qwen/Qwen3-VL-8B-Instruct`.
        revision: Required for a hub name (a commit or tag); for the others, checked against the
            content if given.
        kind: Which setting it is.

    Returns:
        The reference.

    Raises:
        RequestError: The folder is missing or has no safetensors, the revision is missing or is not
            the content's.
    """
    key = kind.key
    folder = kind.nano if model == NANO else Path(model).expanduser()
    if not folder.is_dir():
        # A hub name has one slash: anything else was meant as a path, and is missing.
        if model == NANO or model.startswith((".", "/", "~")) or model.count("/") != 1:
            named = model if "://" in model else folder  # a `Path` cuts the slashes of a URL
            raise RequestError(
                f"{key}: {named} is not a folder; allowed are nano, a folder, a hub name"
            )
        if not revision:
            raise RequestError(
                f"{kind.revision_key} is required for the hub model {model!r}: a commit or tag,"
                " so that a later run cannot mix two versions in one table"
            )
        return ModelReference(model, model, revision, local=False)
    files = sorted(p for p in folder.iterdir() if p.suffix in CONTENT and p.is_file())
    if not any(p.suffix == ".safetensors" for p in files) or not (folder / kind.config).is_file():
        raise RequestError(
            f"{key}: {folder} needs {kind.config} and *.safetensors, and lacks one of them"
        )
    # Files are hashed again when their size or time changes: some weights take seconds to read.
    stamp = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    content = _content_hash(stamp)
    if revision and revision != content:
        raise RequestError(
            f"{kind.revision_key} is {revision!r}, but the content of {folder} is {content!r}:"
            " leave the revision out, or give the folder that was meant"
        )
    name = NANO if model == NANO else folder.resolve().name
    return ModelReference(name, str(folder), content, local=True)


def check_reachable(model: str, revision: str | None, kind: ModelKind) -> None:
    """Refuses a hub model that is neither on this machine nor at the hub.

    A folder, and a model whose configuration the hub's cache has, need no request.

    Raises:
        RequestError: It can't be fetched: no network, no such model or revision, no access.
    """
    found = resolve_model(model, revision, kind)
    if found.local or importlib.util.find_spec("huggingface_hub") is None:
        return
    import huggingface_hub as hub

    file = f"{kind.subfolder}{kind.config}"
    cached = hub.try_to_load_from_cache(found.location, file, revision=found.revision)
    if isinstance(cached, str):
        return
    try:
        hub.HfApi().model_info(
            found.location, revision=found.revision, timeout=HUB_ANSWERS_WITHIN_S
        )
    except Exception as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise RequestError(
            f"{kind.key}: the hub model {model!r} (revision {revision}) is not in this machine's "
            f"cache and can't be asked for ({type(error).__name__}: {first[:200]}). Give a folder "
            f"with {kind.config} and *.safetensors; or, where there is a network, fetch it (hf "
            "download) and set HF_HOME to where it was put, HF_ENDPOINT for a mirror, HF_TOKEN for "
            "a model with limited access"
        ) from None


@functools.lru_cache(maxsize=16)
def _content_hash(stamp: tuple[tuple[str, int, int], ...]) -> str:
    """12 hex digits over the files' names and contents, wherever they lie."""
    total = hashlib.sha256()
    for path, _, _ in stamp:
        with Path(path).open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        total.update(f"{Path(path).name}\0{digest}\n".encode())
    return total.hexdigest()[:12]
