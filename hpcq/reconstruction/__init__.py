"""The tensors put together: a network of subcircuits, contracted."""
