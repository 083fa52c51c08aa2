"""Starts the pilots of a study as SLURM jobs."""
