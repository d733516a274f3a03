"""The NIR nodes that are supported: their fields, and what an absent field means."""

from __future__ import annotations

NEURON_TYPES = ("LIF", "CubaLIF", "IF", "LI", "CubaLI", "I", "Threshold")
LINEAR_TYPES = ("Affine", "Linear", "Conv1d", "Conv2d", "Scale", "Flatten", "SumPool2d")
LINEAR_TYPES += ("AvgPool2d", "Delay", "Identity")

Default = float | tuple[float, ...] | None
# type: (required fields, optional fields with what an absent one means)
FIELDS: dict[str, tuple[tuple[str, ...], dict[str, Default]]] = {
    "Input": ((), {"shape": None}),
    "Output": ((), {"shape": None}),
    "Affine": (("weight",), {"bias": 0.0}),
    "Linear": (("weight",), {}),
    "Conv1d": (
        ("weight",),
        {"bias": 0.0, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "input_shape": None},
    ),
    "Conv2d": (
        ("weight",),
        {"bias": 0.0, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "input_shape": None},
    ),
    "Scale": (("scale",), {}),
    "Flatten": ((), {"start_dim": 1, "end_dim": -1, "input_type": None}),
    "SumPool2d": (("kernel_size",), {"stride": None, "padding": 0}),
    "AvgPool2d": (("kernel_size",), {"stride": None, "padding": 0}),
    "Delay": (("delay",), {}),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), {"v_reset": 0.0}),
    "CubaLIF": (
        ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold"),
        {"v_reset": 0.0, "w_in": 1.0},
    ),
    "IF": (("r", "v_threshold"), {"v_reset": 0.0}),
    "LI": (("tau", "r", "v_leak"), {}),
    "CubaLI": (("tau_mem", "tau_syn", "r", "v_leak"), {"w_in": 1.0}),
    "I": (("r",), {}),
    "Threshold": (("threshold",), {}),
}
MAY_BE_INFINITE = ("tau", "tau_mem", "tau_syn", "r", "w_in")  # snnTorch's beta = 1
TEXT_FIELDS = ("padding",)
