"""The search for cuts: partitions of gate ends, improved by their predicted cost.

Graphs of gate ends (:mod:`~hpcq.planning.search.gate_ends`) and an objective enter, seconds or
sampling overhead; proposals of cuts leave, best first. Small components are enumerated, others are
partitioned by independent trials that ranks share. The same seed, budget and memory limit always
give the same cuts, on any number of ranks and at any speed of the machine.
"""
