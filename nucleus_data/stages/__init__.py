"""The stages: a folder each, with one class of one of two shapes (`nucleus_data.stage`)."""
