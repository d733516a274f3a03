"""A pipeline: values that travel from stage to stage, written once and read wherever they are needed."""

from __future__ import annotations

from amaranth.hdl import Elaboratable, Module, Shape, Signal, Value, ValueLike

__all__ = ["Pipeline", "Stage", "delayed", "unlike"]


def delayed(m: Module, value: Value, cycles: int) -> Value:
    """Return ``value`` as it was ``cycles`` cycles before; 0 in the first ones."""
    for _ in range(cycles):
        register = Signal(value.shape())
        m.d.sync += register.eq(value)
        value = register
    return value


def unlike(name: str, shape: Shape, count: int) -> list[Signal]:
    """Return ``count`` registers, 4 at most, for one value: what reads it stands far apart on an FPGA.

    What they hold after power-up and after a reset differs in every bit, lest Yosys takes them for one.
    """
    ones = -1 if shape.signed else (1 << shape.width) - 1
    return [
        Signal(shape, name=f"{name}_{n}", init=ones * (n & 1), reset_less=n >= 2)
        for n in range(count)
    ]


class Pipeline(Elaboratable):
    """Registers between numbered stages, of which one cycle works on one item.

    A value that ``put`` computes in a stage is in a register one stage later, and can be read there and in every later
    stage; the registers in between are made when first asked for::

        pipe.stage(0).put(total=a + b)
        pipe.stage(1).total  # the same item's sum, a cycle later
        pipe.stage(3).total  # and three cycles later

    It is a submodule of its user. A reset clears the value called ``valid``, which tells items from bubbles; the others
    need none.
    """

    def __init__(self) -> None:
        self._m = Module()  # its own, so that no register ends up inside a condition of the user's
        self._registers: dict[str, tuple[int, list[Signal]]] = {}

    def elaborate(self, platform: object) -> Module:
        """Return the registers that were asked for."""
        return self._m

    def stage(self, number: int) -> Stage:
        """Return the stage ``number``, any integer."""
        return Stage(self, number)

    def put(self, number: int, name: str, value: ValueLike) -> None:
        """Register ``value``, computed in stage ``number``, as ``name``; KeyError if the name is taken."""
        if name in self._registers:
            raise KeyError(f"the pipeline has a value {name!r} already")
        first = self._register(name, number + 1, Value.cast(value))
        self._registers[name] = (number + 1, [first])

    def get(self, number: int, name: str) -> Signal:
        """Return ``name`` as stage ``number`` sees it; KeyError if it is not known there."""
        first, registers = self._registers[name]
        if number < first:
            raise KeyError(f"{name!r} is known from stage {first} on, not in stage {number}")
        while first + len(registers) <= number:
            registers.append(self._register(name, first + len(registers), registers[-1]))
        return registers[number - first]

    def _register(self, name: str, number: int, value: Value) -> Signal:
        place = f"m{-number}" if number < 0 else str(number)
        register = Signal(value.shape(), name=f"{name}_{place}", reset_less=name != "valid")
        self._m.d.sync += register.eq(value)
        return register


class Stage:
    """One stage of a `Pipeline`: its values are attributes."""

    def __init__(self, pipeline: Pipeline, number: int) -> None:
        self._pipeline = pipeline
        self._number = number

    def put(self, **values: ValueLike) -> None:
        """Register values that this stage computes; the next one has them."""
        for name, value in values.items():
            self._pipeline.put(self._number, name, value)

    def __getattr__(self, name: str) -> Signal:
        """Return the value ``name`` of the item that is in this stage."""
        return self._pipeline.get(self._number, name)
