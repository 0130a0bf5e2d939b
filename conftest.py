"""What holds for every test: the skip report, and property tests without a clock."""

from hypothesis import settings

pytest_plugins = ("tests.plugins.bookings", "tests.plugins.nvml", "tests.plugins.skips")

settings.register_profile("timelock", deadline=None)
settings.load_profile("timelock")
