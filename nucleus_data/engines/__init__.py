"""Models: where one is found, and how it is asked. One model at a time; free of corpora and of Ray.

- `find`: which model a setting means (packaged in `assets/`, a folder, a hub name), its revision.
- `captioner`: what a captioning engine is; `captioner_vllm`, `captioner_transformers` and
  `captioner_server` are three; `load` chooses. `refusals` is what none of them serves, `grammar`
  keeps answers to a JSON schema, `thinking` takes away what a model thought.
- `captioner_server`: asks servers of OpenAI's protocol. `servers` are its settings and chooses one,
  `server_meeting` gets to know it, `server_told` is what it tells of itself, `server_requests` asks
  and asks again, `server_chat` is what goes over the wire, `server_text` makes texts harmless.
- `embedder`: what an embedding model is; `clip` (open_clip; it chooses) and `clip_transformers` are
  two; `heads` are small networks on vectors.

torch, transformers, vLLM and open_clip are imported when a model is loaded, not before.
"""
