"""Training sets: aspect-bucketed webdataset tars with deterministic bytes and a manifest that publishes them."""
