"""Exact runs: what is farmed out, and what comes of it."""
