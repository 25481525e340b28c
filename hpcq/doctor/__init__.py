"""What a machine offers, and a job on it: each finding seen, and not guessed."""
