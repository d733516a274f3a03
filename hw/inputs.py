"""The flits that the host sends in each chip timestep, as the simulator's `_host_queue` has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip.packet import FlitKind, FlitLayout
from ..chip.program import ManyCoreProgram

__all__ = ["HostInputs"]


@dataclass(frozen=True)
class HostInputs:
    """A program's inputs, ready to be made into flits.

    Attributes
    ----------
    program
        The program.
    layout
        Its chip's flit.
    words
        (F,) int64: each input route's flit without payload, of kind AXON.
    source
        (F,) the input of each route.
    """

    program: ManyCoreProgram
    layout: FlitLayout
    words: NDArray[np.int64]
    source: NDArray[np.int64]

    @classmethod
    def of(cls, program: ManyCoreProgram) -> HostInputs:
        """Prepare a checked program."""
        layout = FlitLayout.of(program.config.many_core)
        _, dx, dy, axon, delay = program.input_routes.astype(np.int64).reshape(-1, 5).T
        values = {"kind": np.zeros_like(dx), "dx": dx, "dy": dy, "target": axon, "delay": delay}
        words, shift = np.zeros_like(dx), 0
        for name, bits in layout.fields:
            if name != "payload":
                words |= (values[name] & ((1 << bits) - 1)) << shift
                shift += bits
        source = np.repeat(np.arange(program.input_size), np.diff(program.input_offset))
        return cls(program, layout, words, source)

    def flits(
        self, payload: NDArray[np.integer], held: bool, k: int, timesteps: int
    ) -> list[list[int]]:
        """Return the flits of chip timestep ``k`` for each port, ascending by input.

        ``payload`` is (timesteps, inputs), or (1, inputs) if ``held``. The inputs of network timestep t enter in chip
        timestep ``steps_per_timestep * t``. A held value acts from the next timestep on, so that its flit leaves
        ``delay - 1`` timesteps later.
        """
        program = self.program
        ports: list[list[int]] = [[] for _ in program.config.many_core.network.host_rows]
        t, is_between = divmod(k, program.steps_per_timestep)
        if not held and (is_between or t >= timesteps):
            return ports
        values = payload[0 if held else t][self.source]
        due = values != 0
        if held:
            due &= program.input_routes[:, 4] == k + 1
        shift = self.layout.bits - self.layout.payload_bits
        mask = (1 << self.layout.payload_bits) - 1
        kind = int(FlitKind.HOLD if held else FlitKind.AXON)
        for port, word, value in zip(
            program.input_routes[due, 0].tolist(),
            self.words[due].tolist(),
            values[due].tolist(),
            strict=True,
        ):
            ports[port].append(kind | word | (value & mask) << shift)
        return ports
