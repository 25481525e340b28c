"""Loops: scripts that call hpcq again and again, and optimizers whose evaluations are saved.

A script runs on rank 0, as it would without MPI; the other ranks compute what its calls ask for,
and all ranks end with its exit code. An optimizer minimises one observable over the free parameters
of a plan, and all its evaluations are stored in a file. A loop that was stopped or killed replays
them through a fresh optimizer and continues: its trajectory is the same bit for bit, on any number
of ranks.
"""
