"""Truth tests during a run: `probes` asks pictures again, `verdict` judges, `words` reports."""
