"""The quasi-probability run: shots, what follows from them, and how sure that is."""
