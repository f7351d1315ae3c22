"""Training sets from selections: planned on metadata, written tar by tar, published whole."""
