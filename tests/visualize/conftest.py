"""Fixtures of every test that draws."""

from animal import animal, growing  # noqa: F401
