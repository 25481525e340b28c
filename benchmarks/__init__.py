"""Scripts that measure; a package for tests that use the simulated farm."""
