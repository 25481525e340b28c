"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# Circuits take a while to draw and to simulate, the first ones longest: no deadlines.
settings.register_profile("hpcq", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hpcq")
