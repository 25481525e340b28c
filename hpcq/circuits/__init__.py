"""Circuits and observables: read, checked and brought to one form.

Files of unknown origin, Qiskit circuits and operators, and texts enter; circuits of one- and
two-qubit gates with finite parameters leave, and observables that are real sums of Pauli strings.
Circuit files are parsed in a sandboxed child process only. A circuit that leaves is the same
unitary as the one that entered, global phase included.
"""
