"""Truth tests in a run: `probes` are asked again, `verdict` is what follows, told by `words`."""
