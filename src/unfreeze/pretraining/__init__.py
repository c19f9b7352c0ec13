"""Pre-training objectives and their recipes."""
