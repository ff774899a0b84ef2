"""Live cameras through shared detectors, a tracker each."""
