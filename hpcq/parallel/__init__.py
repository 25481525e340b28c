"""The farm: ranks, or one process, that compute tasks for rank 0.

In: a factory that makes the function for one task, costs of the tasks, and payloads as bytes. Out:
one flat array for each task, busy seconds and a timeline of the ranks, failed tasks, lost ranks.
Tasks are integers; nothing here knows about quantum circuits. The result of a task depends on its
number and payload only, never on the rank, the order or the number of ranks. Only rank 0 schedules,
by a state machine without clock or messages, and only the main thread of a rank calls MPI.
"""
