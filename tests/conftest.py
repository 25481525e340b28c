"""Settings of all tests."""

import os

from hypothesis import HealthCheck, settings

# Circuits take a while to draw and to simulate, the first ones longest: no deadlines.
settings.register_profile("hpcq", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hpcq")

# Nothing may depend on what was measured or set up on this machine; commands that tests start
# inherit it.
os.environ["HPCQ_CALIBRATION"] = "none"
os.environ["HPCQ_SITE"] = "none"
