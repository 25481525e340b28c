"""The search for cuts: partitions of the ends of gates, improved on what the run will cost."""
