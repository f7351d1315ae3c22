"""Rejects compressed tars: an image in one can't be read by offset."""

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.settings import IngestSettings

# Endings of compressed tars -> the command that decompresses them.
COMPRESSED_TARS = {
    (".tar.gz", ".tgz"): "gunzip",
    (".tar.zst", ".tzst"): "unzstd",
    (".tar.bz2", ".tbz2", ".tbz"): "bunzip2",
    (".tar.xz", ".txz"): "unxz",
    (".tar.lz4",): "unlz4",
    (".tar.z", ".tar.lz", ".tar.lzma"): "tar's own tools",
}


def refuse_compressed(names: list[str], settings: IngestSettings) -> None:
    """Rejects a source that contains compressed tars.

    Args:
        names: File names of the source.
        settings: The setting `source` is quoted in the message.

    Raises:
        RequestError: One of the names is that of a compressed tar.
    """
    found = [
        (n, how) for ends, how in COMPRESSED_TARS.items() for n in names if n.lower().endswith(ends)
    ]
    if found:
        name, how = min(found)
        raise RequestError(
            f"ingest.source={settings.source!r}: compressed tars are not supported "
            f"(found {len(found)}, such as {name.rsplit('/', 1)[-1]!r}), as images in them cannot "
            f"be read by offset. Decompress them with {how}, or select only plain tars (`*.tar`)"
        )
