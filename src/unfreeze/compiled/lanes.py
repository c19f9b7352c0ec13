"""SIMD vectors of 16 floats for compiled loops, where numba's automatic vectorization is not enough.

LLVM maps a `Lanes` value to one register of 512 bits, two of 256 or four of 128, depending on the processor. bfloat16
arrays are seen by NumPy, and typed here, as int16. There are no bounds checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, register_model

intrinsic: Any = extending.intrinsic  # untyped, because its stub counts the context among the arguments
WIDTH = 16
_FLOAT, _I1, _I32 = ir.FloatType(), ir.IntType(1), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, WIDTH)
_INTEGERS, _HALVES = ir.VectorType(_I32, WIDTH), ir.VectorType(ir.IntType(16), WIDTH)
_MASKS = ir.VectorType(_I1, WIDTH)
_FAST = ("reassoc", "contract", "nsz")


class LanesType(types.Type):
    """numba type of a vector of 16 floats."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _VECTOR)


def _address(
    context: Any, builder: Any, array_type: Any, array: Any, *index: Any, vector: Any = _VECTOR
) -> Any:
    """Pointer to a vector that begins at an element of a C-contiguous array."""
    found = context.make_array(array_type)(context, builder, array)
    pointer = cgutils.get_item_pointer(context, builder, array_type, found, index, wraparound=False)
    return builder.bitcast(pointer, vector.as_pointer())


def _mask(builder: Any, n: Any) -> Any:
    """Mask of the first n of 16 lanes."""
    numbers = ir.Constant(ir.VectorType(_I32, WIDTH), list(range(WIDTH)))
    return builder.icmp_signed("<", numbers, _splat(builder, builder.trunc(n, _I32)))


def _splat(builder: Any, value: Any) -> Any:
    vector = ir.VectorType(value.type, WIDTH)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _I32(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_I32, WIDTH), [0] * WIDTH))


def _elementwise(n_arguments: int, build: Callable[..., Any]) -> Any:
    """Signature and code generator of an operation on lanes, given `build(builder, *arguments)`."""
    return lanes(*[lanes] * n_arguments), lambda _context, builder, _signature, values: build(
        builder, *values
    )


def _function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


@intrinsic
def zeros(_context: Any) -> Any:
    """Zero in all 16 lanes."""
    return lanes(), lambda context, builder, signature, arguments: ir.Constant(_VECTOR, [0.0] * WIDTH)


@intrinsic
def splat(_context: Any, _value: Any) -> Any:
    """A float32 in all 16 lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0])

    return lanes(types.float32), generate


def _load(matrix: Any) -> Any:
    """Code generator of a load from (matrix, row, column), or of the first n lanes only from (matrix, row, column, n)."""
    is_half = matrix.dtype == types.int16
    vector, name, align = (_HALVES, "v16i16", 2) if is_half else (_VECTOR, "v16f32", 4)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _address(context, builder, signature.args[0], *arguments[:3], vector=vector)
        if len(arguments) == 3:
            found = builder.load(pointer)
            found.align = align
        else:
            kinds = vector.as_pointer(), _I32, _MASKS, vector
            load = _function(builder, f"llvm.masked.load.{name}.p0", vector, *kinds)
            zeros = ir.Constant(vector, [0] * WIDTH)
            found = builder.call(load, [pointer, _I32(align), _mask(builder, arguments[3]), zeros])
        return _widened(builder, found) if is_half else found

    return generate


@intrinsic
def load(_context: Any, matrix: Any, _row: Any, _column: Any) -> Any:
    """matrix[row, column : column + 16] of float32 or bfloat16."""
    return lanes(matrix, types.intp, types.intp), _load(matrix)


@intrinsic
def load_some(_context: Any, matrix: Any, _row: Any, _column: Any, _n: Any) -> Any:
    """The first n of matrix[row, column : column + 16] of float32 or bfloat16, then zeros."""
    return lanes(matrix, types.intp, types.intp, types.intp), _load(matrix)


def _widened(builder: Any, halves: Any) -> Any:
    """bfloat16 to float32: the same bits followed by zeros."""
    return builder.bitcast(builder.shl(builder.zext(halves, _INTEGERS), _integers(16)), _VECTOR)


def _to_half(builder: Any, value: Any) -> Any:
    """float32 to bfloat16, rounding to nearest even."""
    bits = builder.bitcast(value, _INTEGERS)
    odd = builder.and_(builder.lshr(bits, _integers(16)), _integers(1))
    bits = builder.add(bits, builder.add(odd, _integers(0x7FFF)))
    return builder.trunc(builder.lshr(bits, _integers(16)), _HALVES)


def _integers(number: int) -> Any:
    return ir.Constant(_INTEGERS, [number] * WIDTH)


def _store(matrix: Any) -> Any:
    """Code generator of a store to (matrix, row, column, value), or of n lanes only to (matrix, row, column, n, value)."""
    is_half = matrix.dtype == types.int16
    vector, name, align = (_HALVES, "v16i16", 2) if is_half else (_VECTOR, "v16f32", 4)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _address(context, builder, signature.args[0], *arguments[:3], vector=vector)
        value = _to_half(builder, arguments[-1]) if is_half else arguments[-1]
        if len(arguments) == 4:
            builder.store(value, pointer, align=align)
        else:
            kinds = vector, vector.as_pointer(), _I32, _MASKS
            store = _function(builder, f"llvm.masked.store.{name}.p0", ir.VoidType(), *kinds)
            builder.call(store, [value, pointer, _I32(align), _mask(builder, arguments[3])])
        return context.get_dummy_value()

    return generate


@intrinsic
def store(_context: Any, matrix: Any, _row: Any, _column: Any, _value: Any) -> Any:
    """matrix[row, column : column + 16] = value, in float32 or rounded to bfloat16."""
    return types.void(matrix, types.intp, types.intp, lanes), _store(matrix)


@intrinsic
def store_some(_context: Any, matrix: Any, _row: Any, _column: Any, _n: Any, _value: Any) -> Any:
    """The first n of matrix[row, column : column + 16] = value, in float32 or rounded to bfloat16."""
    return types.void(matrix, types.intp, types.intp, types.intp, lanes), _store(matrix)


@intrinsic
def multiply_add(_context: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """a * b + c, rounded once or twice, and possibly reordered."""
    return _elementwise(3, lambda to, a, b, c: to.fadd(to.fmul(a, b, flags=_FAST), c, flags=_FAST))


@intrinsic
def add(_context: Any, _a: Any, _b: Any) -> Any:
    """a + b, without reordering."""
    return _elementwise(2, lambda builder, a, b: builder.fadd(a, b))


def _halve(builder: Any, a: Any, b: Any, step: int) -> Any:
    """Sums of lanes that are `step` apart: of b in lanes whose number has the bit `step`, of a in the others."""
    own = [lane + (WIDTH if lane & step else 0) for lane in range(WIDTH)]
    other = [(lane ^ step) + (WIDTH if lane & step else 0) for lane in range(WIDTH)]
    masks = [ir.Constant(ir.VectorType(_I32, WIDTH), mask) for mask in (own, other)]
    return builder.fadd(*(builder.shuffle_vector(a, b, mask) for mask in masks), flags=_FAST)


@intrinsic
def store_totals(_context: Any, array: Any, _start: Any, _stride: Any, tile: Any) -> Any:
    """array[start + stride * r + c] = the sum over the lanes of tile[4 * r + c], for r and c from 0 to 3."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, start, stride, tile = arguments
        vectors = [builder.extract_value(tile, number) for number in range(WIDTH)]
        for step in (1, 2, 4, 8):
            vectors = [_halve(builder, vectors[p], vectors[p + 1], step) for p in range(0, len(vectors), 2)]
        four = ir.VectorType(_FLOAT, 4)
        for row in range(4):
            place = builder.add(start, builder.mul(stride, ir.Constant(stride.type, row)))
            pointer = _address(context, builder, signature.args[0], array, place, vector=four)
            mask = ir.Constant(ir.VectorType(_I32, 4), list(range(4 * row, 4 * row + 4)))
            quarter = builder.shuffle_vector(vectors[0], vectors[0], mask)
            builder.store(quarter, pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, types.UniTuple(lanes, WIDTH)), generate


@intrinsic
def prefetch(_context: Any, matrix: Any, _row: Any, _column: Any) -> Any:
    """Prefetch the cache line of matrix[row, column] for writing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _address(context, builder, signature.args[0], *arguments, vector=ir.IntType(8))
        call = _function(builder, "llvm.prefetch.p0", ir.VoidType(), pointer.type, _I32, _I32, _I32)
        builder.call(call, [pointer, _I32(1), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp), generate


@intrinsic
def subtract(_context: Any, _a: Any, _b: Any) -> Any:
    """a - b."""
    return _elementwise(2, lambda builder, a, b: builder.fsub(a, b))


@intrinsic
def multiply(_context: Any, _a: Any, _b: Any) -> Any:
    """a * b."""
    return _elementwise(2, lambda builder, a, b: builder.fmul(a, b))


@intrinsic
def divide(_context: Any, _a: Any, _b: Any) -> Any:
    """a / b."""
    return _elementwise(2, lambda builder, a, b: builder.fdiv(a, b))


@intrinsic
def fused(_context: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """a * b + c, rounded once or twice, but not reordered (in functions that are compiled in order)."""
    flags = ("contract",)
    return _elementwise(3, lambda to, a, b, c: to.fadd(to.fmul(a, b, flags=flags), c, flags=flags))


@intrinsic
def clamp(_context: Any, _value: Any, _low: Any, _high: Any) -> Any:
    """Clamp the value to [low, high]; NaN stays NaN."""

    def build(builder: Any, value: Any, low: Any, high: Any) -> Any:
        value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
        return builder.select(builder.fcmp_ordered(">", value, high), high, value)

    return _elementwise(3, build)


@intrinsic
def where_inside(_context: Any, _size: Any, _bound: Any, _inside: Any, _outside: Any) -> Any:
    """`inside` in the lanes where -bound < size < bound, else `outside`."""

    def build(builder: Any, size: Any, bound: Any, inside: Any, outside: Any) -> Any:
        below = builder.fcmp_ordered("<", size, bound)
        above = builder.fcmp_ordered(">", size, builder.fneg(bound))
        return builder.select(builder.and_(below, above), inside, outside)

    return _elementwise(4, build)


@intrinsic
def power_of_two(_context: Any, _shifted: Any) -> Any:
    """2**n for integers n from -126 to 127, given as n + 1.5 * 2**23, by setting the exponent bits."""

    def build(builder: Any, shifted: Any) -> Any:
        bits = builder.bitcast(shifted, _INTEGERS)
        exponents = builder.shl(builder.add(bits, _integers(127 - 0x4B400000)), _integers(23))
        return builder.bitcast(exponents, _VECTOR)

    return _elementwise(1, build)


@intrinsic
def where_greater(_context: Any, _a: Any, _b: Any, _yes: Any, _no: Any) -> Any:
    """`yes` in the lanes where a > b, else `no`."""
    return _elementwise(4, lambda to, a, b, yes, no: to.select(to.fcmp_ordered(">", a, b), yes, no))


@intrinsic
def dropout_factors(_context: Any, _number: Any, _seed: Any, _threshold: Any, _factor: Any) -> Any:
    """Zero in each lane with probability threshold / 2**32, else `factor`; a function of the lane's number and the seed.

    `number` is that of the first lane. The random bits are a 32-bit integer hash of the numbers (two rounds of
    multiplication and shift), so any part of a mask can be recomputed from its position alone.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, seed, threshold, factor = arguments
        lane_numbers = ir.Constant(_INTEGERS, list(range(WIDTH)))
        bits = builder.add(_splat(builder, builder.trunc(number, _I32)), lane_numbers)
        bits = builder.mul(bits, _integers(0x9E3779B1))
        bits = builder.xor(bits, _splat(builder, builder.trunc(seed, _I32)))
        for shift, multiplier in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            bits = builder.mul(builder.xor(bits, builder.lshr(bits, _integers(shift))), _integers(multiplier))
        bits = builder.xor(bits, builder.lshr(bits, _integers(16)))
        dropped = builder.icmp_unsigned("<", bits, _splat(builder, builder.trunc(threshold, _I32)))
        return builder.select(dropped, ir.Constant(_VECTOR, [0.0] * WIDTH), _splat(builder, factor))

    return lanes(types.intp, types.intp, types.intp, types.float32), generate


@intrinsic
def transpose_tile(_context: Any, source: Any, _row: Any, _column: Any, target: Any, _add: Any) -> Any:
    """target[column + i, row + k] = source[row + k, column + i] for i and k from 0 to 15.

    The source is bfloat16; the target is bfloat16, or float32, to which the tile is added if `add` is true.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, row, column, target, add = arguments
        source_type, _, _, target_type, _ = signature.args

        def place(array_type: Any, array: Any, row: Any, column: Any, step: int, vector: Any) -> Any:
            row = builder.add(row, ir.Constant(row.type, step))
            return _address(context, builder, array_type, array, row, column, vector=vector)

        rows = []
        for k in range(WIDTH):
            rows.append(builder.load(place(source_type, source, row, column, k, _HALVES)))
            rows[-1].align = 2
        # Butterfly exchanges: in each round, element i of a row is swapped with element i - step of the row `step` below.
        for step in (8, 4, 2, 1):
            taken = [lane + WIDTH - step if lane & step else lane for lane in range(WIDTH)]
            given = [lane + WIDTH if lane & step else lane + step for lane in range(WIDTH)]
            upper, lower = (ir.Constant(ir.VectorType(_I32, WIDTH), mask) for mask in (taken, given))
            for k in range(WIDTH):
                if not k & step:
                    a, b = rows[k], rows[k + step]
                    rows[k] = builder.shuffle_vector(a, b, upper)
                    rows[k + step] = builder.shuffle_vector(a, b, lower)
        for i, value in enumerate(rows):
            if target_type.dtype == types.int16:
                builder.store(value, place(target_type, target, column, row, i, _HALVES), align=2)
                continue
            pointer = place(target_type, target, column, row, i, _VECTOR)
            before = builder.load(pointer)
            before.align = 4
            before = builder.select(add, before, ir.Constant(_VECTOR, [0.0] * WIDTH))
            builder.store(builder.fadd(before, _widened(builder, value)), pointer, align=4)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.boolean), generate
