"""Routing: the method that answers a problem soonest among those whose error is bounded.

A problem without given cuts or width limit enters; an exact plan leaves, with a verdict. The light
cone of the observables is divided into parts that no gate connects, and each part gets a method.
What a probe has computed is kept, so the run does not compute it again. Budgets are counted in
work, not by a clock: the same problem, seed and speeds always get the same verdict.
"""
