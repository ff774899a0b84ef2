"""Stage 1: frames with true times, from files and cameras."""
