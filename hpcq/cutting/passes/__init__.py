"""Passes that leave a circuit with fewer gates to cut.

A normalised circuit and the terms of the observables enter; a
:class:`~hpcq.cutting.passes.simplify.SimplifiedCircuit` leaves. Passes always keep the expectation
values of these terms, but not the state. Each gate of the simplified circuit remembers the gates
of the original circuit that it stands for, so cuts are always saved as cuts of the original.
"""
