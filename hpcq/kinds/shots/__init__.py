"""Runs with shots: rounds of measured variants, from which values and errors are estimated.

A problem with a budget of shots enters; a plan leaves, and from the plan estimates with standard
errors. Each round is planned from the counts of earlier rounds, and measured on all ranks or on a
device. Estimates are unbiased, and every count is kept.
"""
