"""What all tests of the nemesis need."""

from harness.process import tidy_up_at_sigterm


def pytest_configure():
    tidy_up_at_sigterm()
