"""Reconstruction: a network of subcircuit tensors, contracted to values of observables.

The tensors of a cut circuit's subcircuits and a table of terms enter; values and their derivatives
leave. The order of contraction and its division into parts follow from the plan and the memory
alone, so that values are the same bit for bit on any number of ranks and threads. ``estimation``
makes the tensors from counts, with their errors.
"""
