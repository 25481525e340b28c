"""The frame of a run: checkpoints, stops, progress, provenance and what all ranks agree on.

A task farm's outcome and the reasons to stop enter; an output file, a status beside it and errors
that are the same on every rank leave. An output is replaced only by the run that wrote it, and all
or nothing; the same command resumes a run that was stopped. ``many`` runs many circuits in one job,
and ``shared`` lets several jobs compute one result. Kinds of runs use this package, which knows
none of them.
"""
