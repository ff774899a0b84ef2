"""Turns detector heads into detections, one family a module."""
