"""The command line ``hpcq``, and :func:`hpcq.submit`, which uses it from Python.

In: flags, HPCQ_* variables, a job file and a site file, in this order of precedence. Out: results
on stdout, everything else on stderr, and an exit code: 0, 2 for wrong input, 75 for a run that
stopped with everything saved, 1 otherwise. A value is checked by its flag's parser wherever it
comes from, and wrong input gets one line from one rank.
"""
