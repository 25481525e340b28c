"""Several jobs that compute one result together and share its tasks through files.

The tasks of each stage and a folder on a common file system enter; results of all jobs and, from
the job that has them all first, one output file leave. Jobs may start and end at any time, also by
being killed: tasks of a job that falls silent are claimed by others, each result is kept, and the
answer is the same bit for bit. Nothing is locked.
"""
