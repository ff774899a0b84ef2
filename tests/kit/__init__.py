"""A test kit for live video: cameras that really stream, and what can go wrong between them and us."""
