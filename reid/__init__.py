"""Stage 4: people recognised across cameras."""
