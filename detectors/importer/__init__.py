"""Turns checkpoints into ONNX without running any code from them."""
