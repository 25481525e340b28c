"""Runs as batch jobs: submitted to SLURM or left in the background, looked at, stopped, fetched."""
