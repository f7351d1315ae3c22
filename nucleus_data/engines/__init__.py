"""Models: where one is found, and how it is asked. One model at a time; free of corpora and of Ray.

- `find`: which model a setting means (packaged in `assets/`, a folder, a hub name), its revision.
- `captioner`: what a captioning engine is; `captioner_vllm` and `captioner_transformers` are two;
  `load` chooses.
- `clip`, `heads`: pictures and texts to vectors, and small networks on these.

torch, transformers, vLLM and open_clip are imported when a model is loaded, not before.
"""
