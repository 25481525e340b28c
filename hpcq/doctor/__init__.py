"""Checks of a machine, an installation and a job: what ``hpcq doctor`` prints.

In: the environment, and an optional number of threads. Out: a list of :class:`Finding`, on rank 0.
Every finding is from a measurement or a trial, never from a guess; the checks of a job are
collective; calls that may hang have a time limit; nothing is left behind but calibrated speeds.
"""
