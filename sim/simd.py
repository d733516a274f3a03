"""Vector instructions of the engines' inner loops, written as LLVM IR: what Numba's own vectoriser leaves undone.

A compiled loop over slices of NumPy arrays spends most of its time on checks that the slices do not overlap; measured
on 1152 inputs x 128 outputs, the lookup-add below is four times as fast. Results are those of the plain loops: the
order of every sum is the caller's, each addition rounds once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 32  # channels that one call works on: two registers of 16 floats, or four of 8
_WIDTH = 16
POSITIONS = 8  # that `multiply_add_dense` works on at a time
GROUPS = 8  # tables that `add_tables` reads
_FLOAT, _HALF = ir.FloatType(), ir.HalfType()
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, _WIDTH)
FP32, FP16, BF16 = 0, 1, 2  # formats as kernels name them


def _half(builder: ir.IRBuilder, value: Any, shape: ir.Type, half: ir.Type) -> Any:
    return builder.fpext(builder.fptrunc(value, half), shape)


def _bfloat(builder: ir.IRBuilder, value: Any, shape: ir.Type, word: ir.Type) -> Any:
    """Round to nearest even on the bits: add half of the last place less one, plus the last bit kept; then cut."""

    def constant(number: int) -> ir.Constant:
        if isinstance(word, ir.VectorType):
            return ir.Constant(word, [number] * _WIDTH)
        return ir.Constant(word, number)

    bits = builder.bitcast(value, word)
    odd = builder.and_(builder.lshr(bits, constant(16)), constant(1))
    up = builder.add(builder.add(bits, constant(0x7FFF)), odd)
    cut = builder.bitcast(builder.and_(up, constant(0xFFFF0000)), shape)
    return builder.select(builder.fcmp_unordered("uno", value, value), value, cut)


def _round_vector(builder: ir.IRBuilder, value: Any, form: int) -> Any:
    if form == FP16:
        return _half(builder, value, _VECTOR, ir.VectorType(_HALF, _WIDTH))
    if form == BF16:
        return _bfloat(builder, value, _VECTOR, ir.VectorType(_I32, _WIDTH))
    return value


def _data(context: Any, builder: ir.IRBuilder, kind: Any, value: Any) -> Any:
    return context.make_array(kind)(context, builder, value).data


def _vectors(builder: ir.IRBuilder, base: Any, offset: Any) -> list[Any]:
    """Return pointers to the vectors of `LANES` floats from an offset on."""
    start = builder.gep(base, [offset])
    return [
        builder.bitcast(builder.gep(start, [_I64(i)]), _VECTOR.as_pointer())
        for i in range(0, LANES, _WIDTH)
    ]


def _load(builder: ir.IRBuilder, pointer: Any) -> Any:
    return builder.load(pointer, align=4)


def _splat(builder: ir.IRBuilder, scalar: Any) -> Any:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, _I32(0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(_I32, _WIDTH), [0] * _WIDTH)
    )


def _held(builder: ir.IRBuilder, pointers: list[Any]) -> list[Any]:
    """Load sums into places that the compiler keeps in registers."""
    return [cgutils.alloca_once_value(builder, _load(builder, pointer)) for pointer in pointers]


def _release(builder: ir.IRBuilder, held: list[Any], pointers: list[Any]) -> None:
    """Store sums that `_held` has loaded."""
    for total, pointer in zip(held, pointers, strict=True):
        builder.store(builder.load(total), pointer, align=4)


def _add_products(
    builder: Any,
    held: list[Any],
    sources: list[Any],
    factor: Any,
    form: int,
    *,
    fuses: bool,
) -> None:
    """Add to sums that are held the products of a factor: rounded, then added, unless the two may fuse."""
    flags = ("contract",) if fuses else ()
    for total, source in zip(held, sources, strict=True):
        product = _round_vector(builder, builder.fmul(factor, source, flags=flags), form)
        added = builder.fadd(builder.load(total), product, flags=flags)
        builder.store(_round_vector(builder, added, form), total)


def _round_scalar(form: int) -> Any:
    @intrinsic
    def rounded(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if form == FP16:
                return _half(builder, arguments[0], _FLOAT, _HALF)
            return _bfloat(builder, arguments[0], _FLOAT, _I32)

        return types.float32(types.float32), generate

    return rounded


def _add_tables(form: int) -> Any:
    @intrinsic
    def add(
        typing_context: Any,
        out: Any,
        at: Any,
        tables: Any,
        entries: Any,
        indices: Any,
        first: Any,
        step: Any,
    ) -> Any:
        signature = types.void(
            out, types.int64, tables, types.int64, indices, types.int64, types.int64
        )

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            sums = _data(context, builder, signature.args[0], arguments[0])
            table = _data(context, builder, signature.args[2], arguments[2])
            index = _data(context, builder, signature.args[4], arguments[4])
            _, at, _, entries, _, first, step = arguments
            row = builder.mul(entries, _I64(LANES))
            chosen = []
            for k in range(GROUPS):
                place = builder.add(first, builder.mul(step, _I64(k)))
                entry = builder.zext(builder.load(builder.gep(index, [place])), _I64)
                offset = builder.add(builder.mul(row, _I64(k)), builder.mul(entry, _I64(LANES)))
                chosen.append(_vectors(builder, table, offset))
            for part, pointer in enumerate(_vectors(builder, sums, at)):
                total = _load(builder, pointer)
                for pointers in chosen:
                    total = builder.fadd(total, _load(builder, pointers[part]))
                    total = _round_vector(builder, total, form)
                builder.store(total, pointer, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add


def _add_planes(form: int) -> Any:
    @intrinsic
    def add(
        typing_context: Any, out: Any, at: Any, tables: Any, entries: Any, count: Any, indices: Any, first: Any,
        step: Any, plane_step: Any, planes: Any, sign: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(
            out, types.int64, tables, types.int64, types.int64, indices, types.int64, types.int64, types.int64,
            types.int64, types.float32,
        )  # fmt: skip

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            sums, table, index = (
                _data(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 5)
            )
            _, at, _, entries, count, _, first, step, plane_step, planes, sign = arguments
            targets = _vectors(builder, sums, at)
            totals = _held(builder, targets)
            row = builder.mul(entries, _I64(LANES))
            last = builder.sub(planes, _I64(1))
            # 2 to the 1 - planes, as the bits of a float.
            bits = builder.shl(builder.sub(_I64(128), planes), _I64(23))
            lowest = builder.bitcast(builder.trunc(bits, _I32), _FLOAT)
            scale = cgutils.alloca_once(builder, _FLOAT)
            with cgutils.for_range(builder, count) as tables_loop:
                k = tables_loop.index
                base = builder.mul(row, k)
                place = builder.add(first, builder.mul(step, k))
                builder.store(lowest, scale)
                with cgutils.for_range(builder, planes) as planes_loop:
                    plane = planes_loop.index
                    byte = builder.load(
                        builder.gep(index, [builder.add(place, builder.mul(plane_step, plane))])
                    )
                    offset = builder.add(base, builder.mul(builder.zext(byte, _I64), _I64(LANES)))
                    now = builder.load(scale)
                    signed = builder.select(
                        builder.icmp_unsigned("==", plane, last), builder.fmul(now, sign), now
                    )
                    factor = _splat(builder, signed)
                    sources = [_load(builder, s) for s in _vectors(builder, table, offset)]
                    _add_products(builder, totals, sources, factor, form, fuses=False)
                    builder.store(builder.fadd(now, now), scale)
            _release(builder, totals, targets)
            return context.get_dummy_value()

        return signature, generate

    return add


def _multiply_add_rows(form: int, *, fuses: bool) -> Any:
    @intrinsic
    def accumulate(
        typing_context: Any,
        out: Any,
        at: Any,
        weights: Any,
        base: Any,
        rows: Any,
        values: Any,
        first: Any,
        count: Any,
    ) -> Any:
        signature = types.void(
            out, types.int64, weights, types.int64, rows, values, types.int64, types.int64
        )

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            sums, weight, row, value = (
                _data(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 4, 5)
            )
            _, at, _, base, _, _, first, count = arguments
            targets = _vectors(builder, sums, at)
            totals = _held(builder, targets)
            with cgutils.for_range(builder, count) as loop:
                place = builder.add(first, loop.index)
                line = builder.zext(builder.load(builder.gep(row, [place])), _I64)
                factor = _splat(builder, builder.load(builder.gep(value, [place])))
                offset = builder.mul(builder.add(base, line), _I64(LANES))
                sources = [_load(builder, s) for s in _vectors(builder, weight, offset)]
                _add_products(builder, totals, sources, factor, form, fuses=fuses)
            _release(builder, totals, targets)
            return context.get_dummy_value()

        return signature, generate

    return accumulate


def _multiply_add_dense(form: int, *, fuses: bool) -> Any:
    @intrinsic
    def accumulate(
        typing_context: Any,
        out: Any,
        at: Any,
        weights: Any,
        base: Any,
        values: Any,
        first: Any,
        count: Any,
    ) -> Any:
        signature = types.void(
            out,
            types.int64,
            weights,
            types.int64,
            values,
            types.UniTuple(types.int64, POSITIONS),
            types.int64,
        )

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            sums, weight, value = (
                _data(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 4)
            )
            _, at, _, base, _, first, count = arguments
            starts = cgutils.unpack_tuple(builder, first)
            rows = [
                _vectors(builder, sums, builder.add(at, _I64(LANES * i))) for i in range(POSITIONS)
            ]
            totals = [_held(builder, targets) for targets in rows]
            with cgutils.for_range(builder, count) as loop:
                offset = builder.mul(builder.add(base, loop.index), _I64(LANES))
                sources = [_load(builder, s) for s in _vectors(builder, weight, offset)]
                for start, held in zip(starts, totals, strict=True):
                    place = builder.gep(value, [builder.add(start, loop.index)])
                    factor = _splat(builder, builder.load(place))
                    _add_products(builder, held, sources, factor, form, fuses=fuses)
            for targets, held in zip(rows, totals, strict=True):
                _release(builder, held, targets)
            return context.get_dummy_value()

        return signature, generate

    return accumulate


def _add_rows(form: int) -> Any:
    @intrinsic
    def add(
        typing_context: Any,
        out: Any,
        at: Any,
        first: Any,
        first_at: Any,
        second: Any,
        second_at: Any,
    ) -> Any:
        signature = types.void(out, types.int64, first, types.int64, second, types.int64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            target, left, right = (
                _vectors(
                    builder,
                    _data(context, builder, signature.args[i], arguments[i]),
                    arguments[i + 1],
                )
                for i in (0, 2, 4)
            )
            for pointer, a, b in zip(target, left, right, strict=True):
                total = builder.fadd(_load(builder, a), _load(builder, b))
                builder.store(_round_vector(builder, total, form), pointer, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add


# Round a 32-bit float to the nearest 16-bit one (IEEE binary16), or to the nearest bfloat16.
round_fp16, round_bf16 = _round_scalar(FP16), _round_scalar(BF16)

# ``add_tables(out, at, tables, entries, indices, first, step)``: to the LANES sums from ``out[at]`` on, add one row of
# each of GROUPS tables in a row, of ``entries`` rows each, table k's chosen by ``indices[first + k * step]``.
add_tables_fp32, add_tables_fp16, add_tables_bf16 = (_add_tables(f) for f in (FP32, FP16, BF16))

# ``add_planes(out, at, tables, entries, count, indices, first, step, plane_step, planes, sign)``: of each of ``count``
# tables in a row add the rows that its planes choose, table k's plane j by ``indices[first + k step + j plane_step]``,
# times 2^(j - planes + 1), the last plane also times ``sign``.
add_planes_fp32, add_planes_fp16, add_planes_bf16 = (_add_planes(f) for f in (FP32, FP16, BF16))

# ``add_rows(out, at, first, first_at, second, second_at)``: LANES floats, the sum of LANES and LANES others.
add_rows_fp32, add_rows_fp16, add_rows_bf16 = (_add_rows(f) for f in (FP32, FP16, BF16))

# ``multiply_add_rows(out, at, weights, base, rows, values, first, count)``: add ``values[j]`` times the row
# ``base + rows[j]`` of ``weights``, for j from ``first`` on, ``count`` of them, in order. "exact" is for operands whose
# products are exact in 32 bits: fused and unfused agree, and hardware may fuse.
multiply_add_rows_exact = _multiply_add_rows(FP32, fuses=True)
multiply_add_rows_fp32, multiply_add_rows_fp16, multiply_add_rows_bf16 = (
    _multiply_add_rows(f, fuses=False) for f in (FP32, FP16, BF16)
)

# ``multiply_add_dense(out, at, weights, base, values, first, count)``: for POSITIONS positions, whose sums follow one
# another from ``out[at]`` on, add ``values[first[i] + j]`` times the row ``base + j`` of ``weights``, for j below
# ``count``, in order. Weights are read once for all.
multiply_add_dense_exact = _multiply_add_dense(FP32, fuses=True)
multiply_add_dense_fp32, multiply_add_dense_fp16, multiply_add_dense_bf16 = (
    _multiply_add_dense(f, fuses=False) for f in (FP32, FP16, BF16)
)
