"""The stage `encode`: latents and text states beside a training set."""
