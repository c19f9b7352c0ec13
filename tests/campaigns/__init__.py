"""Long searches for faults, run by hand; nothing here is collected by pytest."""
