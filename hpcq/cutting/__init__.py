"""Cuts, and the subcircuits that they leave.

A normalised circuit and cuts enter; a :class:`~hpcq.cutting.subcircuits.CutCircuit` leaves:
subcircuits with ports, joined by edges. ``passes`` simplifies the circuit before it is cut, and
``subexperiments`` turns a subcircuit into circuits to run and their results into its tensor.
Contracting the tensors over all edges always gives the value of the uncut circuit.
"""
