"""Loads and runs models, one at a time; independent of corpora and of Ray.

- `find` resolves a setting to a model (packaged in `assets/`, a folder, or a hub name) and its
  revision.
- `captioner` defines the interface of captioning engines. Its implementations are `captioner_vllm`,
  `captioner_transformers` and `captioner_server`; `load` chooses one. `refusals` has the requests
  that every engine rejects, `grammar` constrains answers to a JSON schema, and `thinking` removes a
  model's reasoning from its answers.
- `captioner_server` uses servers with OpenAI's protocol. `servers` has their settings and chooses a
  server for each request, `server_meeting` checks a server before its first use, `server_told`
  reads what a server reports about itself, `server_requests` sends requests with retries,
  `server_chat` encodes and decodes messages, and `server_text` neutralises special tokens in texts.
- `embedder` defines the interface of embedding models. Its implementations are `clip` (open_clip;
  its `load_clip` chooses) and `clip_transformers`. `heads` are small networks on their vectors.

torch, transformers, vLLM and open_clip are imported only when a model is loaded.
"""
