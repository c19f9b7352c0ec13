"""What numba compiles for all rungs: the decorators, and vectors of 16 numbers with their mathematics."""
