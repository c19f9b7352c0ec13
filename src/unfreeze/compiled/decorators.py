"""Decorators that compile loops with numba: without the GIL, vectorized, and without reference counting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])
# Vectorization needs sums that may be reordered (infinities and NaN keep their meaning) and unchecked divisions.
_FLAGS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_FLAGS["fastmath"] = {"reassoc", "contract", "arcp", "nsz"}
_njit: Any = numba.njit  # untyped, because its stub does not declare _nrt


def compiled(function: Function) -> Function:
    """Compile a function that works on arrays and views of arrays but allocates none.

    Without allocation numba need not count references, whose atomic operations took half the time of an update.
    """
    return cast(Function, _njit(**_FLAGS, _nrt=False)(function))


def inlined(function: Function) -> Function:
    """As `compiled`, but inlined into the calling function."""
    return cast(Function, _njit(**_FLAGS, _nrt=False, inline="never", forceinline=True)(function))


def allocating(function: Function) -> Function:
    """Compile a function that allocates arrays, with reference counting."""
    return cast(Function, _njit(**_FLAGS)(function))


_IN_ORDER = {name: value for name, value in _FLAGS.items() if name != "fastmath"}


def compiled_in_order(function: Function) -> Function:
    """As `compiled`, but floating-point operations are not reordered."""
    return cast(Function, _njit(**_IN_ORDER, _nrt=False)(function))


def inlined_in_order(function: Function) -> Function:
    """As `compiled_in_order`, but inlined into the calling function."""
    return cast(Function, _njit(**_IN_ORDER, _nrt=False, inline="never", forceinline=True)(function))
