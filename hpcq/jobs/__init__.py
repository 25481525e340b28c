"""Runs as batch jobs: of SLURM, or in the background of this machine.

In: the parsed command line of ``hpcq submit``, or an output or job number. Out: a :class:`Job` that
can be asked for its status, logs and result, and canceled. Every submission is recorded in a small
file beside its output; an output is never written by two jobs unless they share it; nothing is
submitted if a check fails; and only jobs of the user who submitted them are ever signaled.
"""
