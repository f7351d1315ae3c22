"""Resolves a setting to a model (packaged, a folder or a hub name), with its revision.

Config hashes contain the revision, so that a table never mixes outputs of two versions.
"""

import functools
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleus_data.errors import RequestError

NANO = "nano"
ASSETS = Path(__file__).resolve().parent / "assets"
# Extensions of the files that determine a model's output: configuration, weights, tokenizer.
CONTENT = {".json", ".jinja", ".model", ".safetensors", ".txt"}


@dataclass(frozen=True)
class ModelKind:
    """A setting that names a model.

    Attributes:
        key: Name of the setting, for messages, for example `caption.model`.
        nano: Folder of the packaged model.
        config: Name of the configuration file that the model's folder must contain.
        revision_key: Name of the setting with the revision, for messages; by default, `revision`
            beside `key`.
        subfolder: Folder of the configuration in a hub's repository, ending with a slash.
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
    """A model that was resolved; whether a hub name exists is not checked.

    Attributes:
        name: `nano`, the base name of the folder, or the hub name; never a path.
        location: The folder's path or the hub name, for an engine to load.
        revision: For `nano` and folders, a content hash of 12 hex digits; for a hub name, the given
            revision.
        local: Whether `location` is a folder, so that no request to a hub is needed.
    """

    name: str
    location: str
    revision: str
    local: bool

    def options(self) -> dict[str, Any]:
        """Returns the keyword arguments for `from_pretrained`.

        They forbid requests for a folder, and pin the revision of a hub name.
        """
        return {"local_files_only": True} if self.local else {"revision": self.revision}


def resolve_model(model: str, revision: str | None, kind: ModelKind = CAPTIONER) -> ModelReference:
    """Resolves a model and its revision.

    Args:
        model: `nano`, a folder, or a hub name such as `Qwen/Qwen3-VL-8B-Instruct`.
        revision: For a hub name, a commit or tag, which is required; otherwise optional, and
            compared with the content hash if given.
        kind: The setting that names the model.

    Raises:
        RequestError: The folder does not exist or lacks its configuration or safetensors, or the
            revision is missing or differs from the content hash.
    """
    key = kind.key
    folder = kind.nano if model == NANO else Path(model).expanduser()
    if not folder.is_dir():
        # A hub name has exactly one slash; anything else is the path of a missing folder.
        if model == NANO or model.startswith((".", "/", "~")) or model.count("/") != 1:
            named = model if "://" in model else folder  # a `Path` would merge a URL's slashes
            raise RequestError(
                f"{key}: {named} is not a folder; allowed: nano, a folder or a hub name"
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
            f"{key}: {folder} needs {kind.config} and *.safetensors, but one of them is missing"
        )
    # The hash is cached by the files' sizes and times, since weights may take seconds to read.
    stamp = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    content = _content_hash(stamp)
    if revision and revision != content:
        raise RequestError(
            f"{kind.revision_key} is {revision!r}, but the content of {folder} is {content!r};"
            " remove the revision, or give the right folder"
        )
    name = NANO if model == NANO else folder.resolve().name
    return ModelReference(name, str(folder), content, local=True)


def check_reachable(model: str, revision: str | None, kind: ModelKind) -> None:
    """Rejects a hub model that is neither cached on this machine nor available from the hub.

    No request is made for a folder, or for a model whose configuration is in the hub's cache.

    Args:
        model: As in `resolve_model`.
        revision: As in `resolve_model`.
        kind: The setting that names the model.

    Raises:
        RequestError: The model can't be resolved, or the hub can't be reached, or has no such model
            or revision, or denies access.
    """
    reference = resolve_model(model, revision, kind)
    if reference.local or importlib.util.find_spec("huggingface_hub") is None:
        return
    import huggingface_hub as hub

    file = f"{kind.subfolder}{kind.config}"
    cached = hub.try_to_load_from_cache(reference.location, file, revision=reference.revision)
    if isinstance(cached, str):
        return
    try:
        hub.HfApi().model_info(
            reference.location, revision=reference.revision, timeout=HUB_ANSWERS_WITHIN_S
        )
    except Exception as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise RequestError(
            f"{kind.key}: the hub model {model!r} (revision {revision}) is not in this machine's "
            f"cache, and the hub can't be asked ({type(error).__name__}: {first[:200]}). Give a "
            f"folder with {kind.config} and *.safetensors; or download the model on a machine with "
            "network access (hf download) and set HF_HOME to the cache with it; set HF_ENDPOINT "
            "for a mirror, HF_TOKEN for a gated model"
        ) from None


@functools.lru_cache(maxsize=16)
def _content_hash(stamp: tuple[tuple[str, int, int], ...]) -> str:
    """Returns 12 hex digits of a hash of the files' base names and contents."""
    total = hashlib.sha256()
    for path, _, _ in stamp:
        with Path(path).open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        total.update(f"{Path(path).name}\0{digest}\n".encode())
    return total.hexdigest()[:12]
