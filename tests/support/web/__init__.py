"""Helpers for the tests of `limiter.web`."""
