"""Tests of the store of sightings."""
