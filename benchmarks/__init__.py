"""Timings against reference implementations, in one run: ``make bench``."""
