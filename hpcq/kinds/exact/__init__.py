"""Exact runs: every subcircuit's tensor is computed, and all are contracted.

A problem that asks for exact expectation values enters; a plan leaves, and from the plan a result
whose standard errors are 0. The tasks are blocks of tensors, and the parts of a long contraction.
Values are the same bit for bit on any number of ranks. A run fails unless the identity has the
value 1.
"""
