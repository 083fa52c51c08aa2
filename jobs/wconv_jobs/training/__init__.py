"""The training loop of one rank: epochs, checkpoints, optimizer, evaluation."""
