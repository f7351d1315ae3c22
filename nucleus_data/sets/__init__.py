"""Training sets as anyone finds them: no stage, no Ray, no torch.

| module | what it holds |
|---|---|
| `buckets` | aspect buckets, their sizes, which one a picture is in, and its crop |
| `layout` | what lies where in a set's folder; a set is published by its manifest |
| `index` | one row a sample beside each tar: where it lies, its sizes, its crop |
| `editions` | captions of a set's samples, beside each tar and in its order |
| `columns` | scores, tiers and curriculum buckets of a set's samples, likewise |
| `beside` | how such files are written and read |
| `tars` | how a tar is written, its places noted |
| `provenance` | what a sample's `.json` says |
| `planned` | which records a tar will hold, while the set is being made |

    folder = SetFolder(store, "sets/train/0123456789abcdef")
    for tar in folder.manifest():
        places = folder.index(tar.path)
        captions = folder.edition(None).captions(tar.path)
"""
