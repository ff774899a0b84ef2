"""Stage 3: objects followed through one camera."""
