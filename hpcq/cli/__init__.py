"""The command line: words and settings become options, and options a plan."""
