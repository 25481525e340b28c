"""What comes in: circuit files, circuits and observables, checked and brought to one form."""
