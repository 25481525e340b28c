"""Routing: the method that answers a problem soonest among those whose error is bounded.

A problem without any word on where to cut enters; an exact plan leaves, with a verdict. The circuit
is divided into parts that no gate joins, after its light cones, and every part gets a method. What
a probe has found is kept, so the run does not compute it again. Budgets are counted in work and
not by a clock: the same problem, seed and speeds always get the same verdict.
"""
