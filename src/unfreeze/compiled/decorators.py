"""How loops are compiled here: for threads, vectorized, without reference counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])
# What vectorized loops need: sums in any order (infinities and NaN keep their meaning), and no check of each division.
_FLAGS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_FLAGS["fastmath"] = {"reassoc", "contract", "arcp", "nsz"}
_njit: Any = numba.njit  # whose own type knows no _nrt


def compiled(function: Function) -> Function:
    """Compile for threads, without reference counts, whose atomic steps took half the time of an update: the function
    works on arrays and their views but can make none."""
    return cast(Function, _njit(**_FLAGS, _nrt=False)(function))


def inlined(function: Function) -> Function:
    """The same, as a part of the function that calls it."""
    return cast(Function, _njit(**_FLAGS, _nrt=False, inline="never", forceinline=True)(function))


def allocating(function: Function) -> Function:
    """Compile what makes arrays."""
    return cast(Function, _njit(**_FLAGS)(function))


_IN_ORDER = {name: value for name, value in _FLAGS.items() if name != "fastmath"}


def compiled_in_order(function: Function) -> Function:
    """As `compiled`, but every operation stands in the order in which it is written: sums are not taken apart."""
    return cast(Function, _njit(**_IN_ORDER, _nrt=False)(function))


def inlined_in_order(function: Function) -> Function:
    """The same, as a part of the function that calls it."""
    return cast(Function, _njit(**_IN_ORDER, _nrt=False, inline="never", forceinline=True)(function))
