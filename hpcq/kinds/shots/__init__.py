"""Runs with shots: rounds of measured variants, from which values and errors are estimated.

A problem with a budget of shots enters; a plan, and from it estimates with standard errors, leaves.
Each round is planned from the counts of those before, and its tasks are measured on all ranks or on
a device. Estimates are unbiased, and every count is kept.
"""
