"""Starts the pilots of a study as SLURM jobs.

`options` turns the keys of a cluster profile into options of sbatch.
"""
