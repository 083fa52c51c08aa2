"""SLURM's commands and words."""
