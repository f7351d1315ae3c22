"""The quick training on a training set, on a cluster, and its copy in the corpus while it lasts."""
