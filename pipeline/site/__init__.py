"""What a site is told: one YAML file, read with care, and what a changed one means."""
