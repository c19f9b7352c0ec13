"""Benchmarks against other libraries: ratios measured in one run. `make bench` runs them all; none is a test."""
