"""Bench: what a model costs, alone and beside its original, each side in a process of its own."""
