"""The file format of training sets, without stages, Ray or torch.

| module | contents |
|---|---|
| `buckets` | aspect buckets: their sizes, the assignment of pictures, and crops |
| `layout` | the files of a set's folder; a set is published by its manifest |
| `index` | the index beside each tar, one row per sample: byte offsets, sizes, crop |
| `editions` | caption editions: captions beside each tar, in the tar's order |
| `columns` | index columns: scores, tiers and curriculum buckets beside each tar |
| `beside` | reading and writing Parquet files beside the tars |
| `encoded`, `encoded_file` | latents and text states beside the tars, in safetensors |
| `tars` | writing a tar, with the byte offsets of its members |
| `provenance` | the content of a sample's `.json` |
| `planned` | the plan of which records go into which tar, while the set is being made |
| `joined` | samples joined with their captions and columns, for exports |
| `join` | `join_captions`, a stage for webdataset pipelines |
| `card`, `facts`, `set_card` | the dataset card of a set or an export, and the facts on it |
| `croissant`, `features` | the same in machine-readable form: JSON-LD, and types for `datasets` |

    folder = SetFolder(store, "sets/train/0123456789abcdef")
    for tar in folder.manifest():
        places = folder.index(tar.path)
        captions = folder.edition(None).captions(tar.path)
"""
