"""Sightings, kept: what was seen, where and when, so that it can be searched later, and erased."""
