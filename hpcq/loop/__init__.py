"""Programs of users that call hpcq again and again.

A script enters and runs on rank 0, as Python would run it; the other ranks compute what it asks
for, and all ranks end with its exit code.
"""
