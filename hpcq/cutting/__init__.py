"""Where to cut, what a cut is, and the circuit taken apart."""
