"""Stage 5: the road from inputs to results, and every face it shows."""
