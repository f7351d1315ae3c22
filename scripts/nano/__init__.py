"""How the package's nano models are made; `scripts/build_nano_models.py` is the command."""
