"""Runs networks."""
