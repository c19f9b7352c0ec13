"""The training loop, its checkpoints and model cards."""
