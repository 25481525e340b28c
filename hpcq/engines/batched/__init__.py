"""The batched engine: narrow subcircuits, simulated for many rows of angles at once.

What enters: an :class:`~hpcq.cutting.subexperiments.exact_tensors.ExactTensor`, and rows of the
angles of its slots. What leaves: tensors of operators, and derivatives of sums over them. What
always holds: the structure of a circuit is worked out once (:mod:`.schedule`, :mod:`.compiler`);
the numbers of a row never depend on the other rows; states are arrays of NumPy or of CuPy.

Simulators with batches of rows (PennyLane's ``default.qubit``, TensorFlow Quantum, cuStateVec's
batched matrices) have no open ports, of which there are several for each cut, or no adjoint
differentiation of a batch.
"""
