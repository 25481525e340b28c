"""Engines: the simulators and devices that run circuits.

Pieces of a cut circuit enter, to be prepared once and executed for rows of parameters
(:mod:`~hpcq.engines.protocol`). Tensors, amplitudes, counts of outcomes, or values of whole
circuits with bounds on their errors leave (:mod:`~hpcq.engines.requests`). Threads, memory and
precision are always set from :class:`~hpcq.core.limits.Limits` and never left to a simulator's
defaults. On simulators the same seed and arguments always give the same counts.
"""
