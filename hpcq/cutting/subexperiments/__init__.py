"""Circuits to run for a subcircuit, and the tensors that follow from their results.

A subcircuit and the Pauli strings on its wires enter. ``exact_tensors`` describes the statevector
simulations that fill its tensor; ``device_circuits`` describes the variants that a device runs, as
rows of templates, and ``port_settings`` how the tensor follows from their means. Nothing here runs
a circuit: engines do. Tasks and variants are always integers, decoded by strides.
"""
