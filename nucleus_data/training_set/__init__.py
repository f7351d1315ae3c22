"""Training sets: aspect-bucketed webdataset tars with deterministic bytes.

A manifest publishes them.
"""
