"""A personal PostgreSQL in a folder, started here or as a SLURM job."""
