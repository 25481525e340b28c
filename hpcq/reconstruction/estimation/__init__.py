"""Counts of outcomes turned into estimates of tensors, observables and their standard errors.

Counts of variants, round by round, enter; values, standard errors and the shots of the next round
leave. Estimates are unbiased, because a round's weight is fixed before it is measured, and
standard errors count products of errors to all orders. Nothing here reads a clock or a rank: the
same counts give the same numbers bit for bit.
"""
