"""Stage 2: objects found in frames."""
