"""Models: where one is found, and how it is asked. One model at a time; free of corpora and of Ray.

- `find`: which model a setting means (packaged in `assets/`, a folder, a hub name), its revision.
- `captioner`: what a captioning engine is; `captioner_vllm` and `captioner_transformers` are two;
  `load` chooses.
- `embedder`: what an embedding model is; `clip` (open_clip; it chooses) and `clip_transformers` are
  two; `heads` are small networks on vectors.

torch, transformers, vLLM and open_clip are imported when a model is loaded, not before.
"""
