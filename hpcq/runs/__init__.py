"""A run as a job: what it may use, when it stops, what it saves, and what it costs."""
