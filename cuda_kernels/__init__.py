"""The bottom leaf: GPU kernels and thin typed doors to them."""
