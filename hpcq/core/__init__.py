"""The lowest layer: errors, files, limits, JSON, the machine and the version.

Paths, environment variables and plain values enter; checked values, open files and one-line errors
leave. No module here knows of circuits or imports Qiskit or MPI, so every other package may import
this one. Files appear complete or not at all, and sidecar files are never links.
"""
