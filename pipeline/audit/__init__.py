"""The audit log: who did what, in records that name the one before them."""
