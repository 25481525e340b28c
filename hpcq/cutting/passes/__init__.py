"""Fewer gates to cut: passes over a circuit that leave the asked expectation values as they are."""
