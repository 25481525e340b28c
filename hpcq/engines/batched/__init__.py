"""The batched engine: narrow subcircuits, simulated for many rows of angles at once.

An :class:`~hpcq.cutting.subexperiments.exact_tensors.ExactTensor` and rows of the angles of its
slots enter; tensors of operators, and derivatives of sums over them, leave. The structure of a
circuit is worked out once (:mod:`.schedule`, :mod:`.compiler`), the numbers of a row never depend
on the other rows, and states are arrays of NumPy or of CuPy.

Other simulators take batches of rows too (PennyLane's ``default.qubit``, TensorFlow Quantum,
cuStateVec), but none of them leaves ports open, as cuts need, and differentiates a batch by the
adjoint method.
"""
