"""For every test: hypothesis draws the same examples in every run, on machines of any speed."""

from hypothesis import HealthCheck, settings

settings.register_profile("kubeloop", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kubeloop")
