"""Results and plans for people: text and drawings.

Finished or partial results and plans enter; printable text and files of drawings leave. Nothing is
computed here that a result or a plan does not hold, and nothing from a file reaches the terminal
unless it is printable.
"""
