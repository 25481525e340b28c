"""Several jobs at work on one result: they share its tasks through files, and come and go."""
