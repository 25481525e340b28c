"""Loops: programs of users that call hpcq again and again, and loops of an optimizer that resume.

A script enters, or a plan with free parameters, one observable and an optimizer. A script runs on
rank 0, as it would without MPI; the other ranks compute what its calls ask for, and all ranks end
with its exit code. An optimizer gives the minimum, and a file of all its evaluations. A loop that
was stopped or killed, and is started again, replays them through a fresh optimizer and continues:
its trajectory is the same bit for bit, on any number of ranks.
"""
