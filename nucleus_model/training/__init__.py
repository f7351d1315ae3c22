"""Training: the loop, a single step, and the measurements during a run.

| module | contents |
|---|---|
| `train` | `quick_train`, a whole run; its docstring lists the files that a run writes |
| `trainer` | the loop over steps and phases, what is due after a step, the summary |
| `run_checkpoints` | the content of a run's checkpoints, and how a run resumes from one |
| `run_parts` | builds a run from its settings: data, encoders, model, optimizers |
| `step` | the gradient of one step, in pieces and over all processes; the update |
| `optimizer` | Muon and AdamW, assigned by rules on parameter names |
| `guards` | decides which steps are skipped: losses that are not finite, spikes |
| `holdout` | the held-out loss, with fixed samples, sigmas and noise |
| `previews` | grids of samples at a phase's resolution |
| `metrics` | a run's metrics, its summary, TensorBoard |
| `determinism` | sets up torch for bit-identical runs, and restores it afterwards |

A run that is killed and started again writes the same files as one that was not killed.
"""
