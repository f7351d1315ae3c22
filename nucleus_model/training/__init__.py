"""Training: the loop, one step of it, and what is measured on the way.

| module | what it holds |
|---|---|
| `train` | `quick_train`: a whole run; its text lists the files of one |
| `trainer` | the loop over steps and phases, what is due after a step, the summary |
| `run_checkpoints` | what a run's checkpoints hold, and how it goes on from one |
| `run_parts` | a run put together from its settings: data, encoders, model, optimizers |
| `step` | the gradient of one step, in pieces and over all processes; the update |
| `optimizer` | Muon and AdamW, by rules on parameter names |
| `guards` | which steps are not taken: losses that are not finite, spikes |
| `holdout` | the held-out loss on fixed samples, sigmas and noise |
| `previews` | grids of samples at a phase's resolution |
| `metrics` | a run's lines, its summary, TensorBoard |
| `determinism` | torch set up for equal bits, and as it was afterwards |

Its rule: a run that is killed and called again leaves the files of one that was not.
"""
