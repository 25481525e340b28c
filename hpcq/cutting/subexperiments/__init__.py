"""What is simulated of a subcircuit, and the tensors that come of it."""
