"""Each reader of others reads a set or its export, as docs/export.md says it; run in their environment.

    python foreign_readers.py FOLDER RESOLUTION READER...

FOLDER holds `set` and the exports `webdataset`, `parquet`, `webshart`, `energon`. Prints JSON, a reader each: its
version, and key -> [caption, SHA-256 of the RGB pixels as it decodes them]; or why it failed.
"""

import hashlib
import importlib.metadata
import io
import json
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")

FOLDER, RESOLUTION = Path(sys.argv[1]).resolve(), sys.argv[2]
WORK = Path(tempfile.mkdtemp(prefix="readers-"))
os.environ["HF_DATASETS_CACHE"] = str(WORK / "datasets")
os.environ["CROISSANT_CACHE"] = str(WORK / "croissant")  # it keeps extracted tars by their relative names
os.environ["WIDS_CACHE"] = str(WORK / "wids")


def pixels(picture):
    """What a trainer gets: no EXIF is looked at."""
    from PIL import Image

    opened = picture if isinstance(picture, Image.Image) else Image.open(io.BytesIO(picture))
    return hashlib.sha256(opened.convert("RGB").tobytes()).hexdigest()


def tars(kind):
    return sorted(map(str, (FOLDER / kind / RESOLUTION).glob("*/*.tar")))


def webdataset():
    import webdataset as wds

    data = wds.WebDataset(tars("webdataset"), shardshuffle=False).decode("pil")
    return {s["__key__"]: (s["txt"], pixels(s["jpg"])) for s in data}


def webdataset_joined():
    import webdataset as wds
    from torch.utils.data import DataLoader

    from nucleus_data import join_captions

    data = wds.WebDataset(tars("set"), shardshuffle=100).compose(join_captions(str(FOLDER / "set")))
    loader = DataLoader(data.decode("pil"), batch_size=None, num_workers=1)
    return {s["__key__"]: (s["txt"], pixels(s["jpg"])) for s in loader}


def wids():
    import wids

    data = wids.ShardListDataset(str(FOLDER / "webdataset" / f"wids-{RESOLUTION}.json"))
    found = (data[number] for number in range(len(data)))
    return {s["__key__"]: (s[".txt"], pixels(s[".jpg"])) for s in found}


def datasets_tars(streaming=False):
    from datasets import load_dataset

    data = load_dataset(str(FOLDER / "webdataset"), RESOLUTION, split="train", streaming=streaming)
    return {s["__key__"]: (s["txt"], pixels(s["jpg"])) for s in data}


def datasets_tars_streaming():
    return datasets_tars(streaming=True)


def datasets_parquet(streaming=False):
    from datasets import load_dataset

    data = load_dataset(str(FOLDER / "parquet"), RESOLUTION, split="train", streaming=streaming)
    return {s["id"]: (s["text"], pixels(s["image"])) for s in data}


def datasets_parquet_streaming():
    return datasets_parquet(streaming=True)


def datasets_files():
    """Parquet files alone, without a card: pictures are told by the footer."""
    from datasets import load_dataset

    files = str(FOLDER / "parquet" / RESOLUTION / "*" / "*.parquet")
    data = load_dataset("parquet", data_files=files, split="train", streaming=True)
    return {s["id"]: (s["text"], pixels(s["image"])) for s in data}


def datasets_set():
    """The set itself, which has no captions."""
    from datasets import load_dataset

    data = load_dataset(str(FOLDER / "set"), RESOLUTION, split="train", streaming=True)
    return {s["__key__"]: (s["json"]["id"], pixels(s["jpg"])) for s in data}


def webshart():
    import webshart

    found = {}
    for aspect in sorted((FOLDER / "set" / RESOLUTION).iterdir()):
        index = FOLDER / "webshart" / RESOLUTION / aspect.name
        data = webshart.discover_dataset(source=str(aspect), metadata=str(index))
        loader = webshart.TarDataLoader(data)
        for tar in range(data.num_shards):
            for number in range(data.get_shard_sample_count(tar)):
                entry = loader.load_sample(tar, number)
                best = entry.captions[-1] if entry.captions else ""
                found[entry.path.partition(".")[0]] = (best, pixels(bytes(entry.data)))
    return found


def energon():
    import torch
    from megatron.energon import WorkerConfig, get_loader, get_val_dataset

    path = FOLDER / "energon" / RESOLUTION / "metadataset.yaml"
    workers = WorkerConfig(rank=0, world_size=1, num_workers=0)
    data = get_val_dataset(path, split_part="train", batch_size=1, worker_config=workers)
    found = {}
    for batch in get_loader(data):
        raw = (batch.image[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
        digest = hashlib.sha256(raw.contiguous().numpy().tobytes()).hexdigest()
        found[batch.__key__[0]] = (batch.caption[0], digest)
    return found


def mosaicml():
    import webdataset as wds
    from streaming import MDSWriter, StreamingDataset

    columns = {"id": "str", "text": "str", "image": "bytes"}
    with MDSWriter(out=str(WORK / "mds"), columns=columns) as writer:
        for s in wds.WebDataset(tars("webdataset"), shardshuffle=False):
            writer.write({"id": s["__key__"], "text": s["txt"].decode(), "image": s["jpg"]})
    data = StreamingDataset(local=str(WORK / "mds"), shuffle=False, batch_size=1)
    return {s["id"]: (s["text"], pixels(s["image"])) for s in data}


def croissant():
    import mlcroissant

    data = mlcroissant.Dataset(str(FOLDER / "parquet" / "croissant.json"))
    name = f"samples-{RESOLUTION}"
    found = {}
    for s in data.records(name):
        text = s[f"{name}/text"].decode()
        found[s[f"{name}/id"].decode()] = (text, pixels(s[f"{name}/image"]))
    return found


def croissant_tars():
    """Without captions: mlcroissant does not join two files of a tar."""
    import mlcroissant

    data = mlcroissant.Dataset(str(FOLDER / "webdataset" / "croissant.json"))
    name = f"samples-{RESOLUTION}"
    records = data.records(name)
    return {s[f"{name}/id"].decode(): (None, pixels(s[f"{name}/image"])) for s in records}


PACKAGES = {
    "datasets": "datasets",
    "energon": "megatron-energon",
    "mosaicml": "mosaicml-streaming",
    "croissant": "mlcroissant",
}

if __name__ == "__main__":
    said = {}
    sys.stdout, out = sys.stderr, sys.stdout  # some of them print
    for name in sys.argv[3:]:
        kind = name.partition("_")[0]
        try:
            found = globals()[name]()
            version = importlib.metadata.version(PACKAGES.get(kind, kind))
            said[name] = {"version": version, "found": found}
        except Exception:
            said[name] = {"failed": traceback.format_exc()}
    out.write(json.dumps(said))
    out.flush()
    os._exit(0)  # some of them leave threads behind
