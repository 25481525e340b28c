"""Exact runs: every subcircuit's tensor is computed, and all are contracted.

A problem about expectation values enters; a plan, and from it a result without errors, leaves.
Blocks of tensors are tasks, and so are parts of a long contraction. Values are the same bit for bit
on any number of ranks, and the identity's value is 1, or the run fails.
"""
