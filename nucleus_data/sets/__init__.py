"""Training sets as anyone finds them: no stage, no Ray, no torch.

- `buckets`: aspect buckets, their sizes, and which one a picture is in.
- `layout`: what lies where in a set's folder; a set is published by its manifest.
"""
