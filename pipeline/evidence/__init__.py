"""Evidence: chosen items in one signed file, and everyone but the subject blurred."""
