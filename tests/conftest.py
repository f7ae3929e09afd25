"""Fixtures for every folder of tests."""

from hub_stand_in import dead, hub

__all__ = ["dead", "hub"]
