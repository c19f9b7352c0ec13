"""Shared parts of the numba kernels: decorators, SIMD vectors of 16 floats, and elementary functions on them."""
