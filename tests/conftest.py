"""What all tests share: no property test is gated on seconds, whatever else the machine does meanwhile."""

from hypothesis import HealthCheck, settings

settings.register_profile("taihu", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("taihu")
