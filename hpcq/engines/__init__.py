"""Engines: the simulators and devices that run circuits.

Circuits, or templates with rows of parameters, enter. Statevectors leave
(:mod:`~hpcq.engines.aer_statevector`), or counts of outcomes
(:class:`~hpcq.engines.protocol.ShotEngine`). Threads, memory and precision are always set from
:class:`~hpcq.core.limits.Limits` and never left to a simulator's defaults. On simulators the same
seed and arguments always give the same counts.
"""
