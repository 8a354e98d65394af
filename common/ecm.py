"""The equivalent circuit of a kind of cell: numbers for the SOC filter, per Ah of capacity.

    V = OCV(z) + dOCV/dT (z) (T - 25 degC) + h M(z) + R0 I + R1 x1 + R2 x2

``z`` is the state of charge, ``x1`` and ``x2`` the current seen through a first-order lag of
``tau1_ms`` and ``tau2_ms``, ``h`` in -1..1 the hysteresis and ``M`` its half width. Resistances
depend on SOC and temperature. All numbers are integers, so that boards need no parser; the error
model says how far the circuit lies from cells it has not seen.
"""

import struct
from array import array

from common.crc import crc32


class Ecm:
    """One circuit; arrays over SOC rise with it.

    ``soc_bp``, ``ocv_dmv`` (0.1 mV), ``half_dmv`` (hysteresis, 0.1 mV) and ``thermal_uv_k``
    (microvolt per kelvin) are of one length. ``r_soc_bp`` and ``r_dc`` (0.1 degC) are the knots
    of the resistances, which lie in ``r0``, ``r1``, ``r2`` in micro-ohm Ah, row by row of SOC.
    ``hysteresis_bp`` is the charge over which the hysteresis turns by 1/e, 0 for none.

    Error model, one standard deviation: ``bias_mv`` of the voltage, plus ``bias_bp`` of charge
    times the slope, forgotten over ``bias_span_bp`` of charge; ``fast_mv`` and ``fast_pm`` (parts
    per thousand of the overpotential), forgotten over ``fast_s``; ``r_pm`` of all resistances,
    forgotten over ``r_s``; ``capacity_pm`` of the capacity.
    """

    def __init__(
        self,
        soc_bp: "tuple[int, ...]",
        ocv_dmv: "tuple[int, ...]",
        half_dmv: "tuple[int, ...]",
        thermal_uv_k: "tuple[int, ...]",
        r_soc_bp: "tuple[int, ...]",
        r_dc: "tuple[int, ...]",
        r0: "tuple[int, ...]",
        r1: "tuple[int, ...]",
        r2: "tuple[int, ...]",
        tau1_ms: int,
        tau2_ms: int,
        hysteresis_bp: int,
        bias_mv: int,
        bias_bp: int,
        bias_span_bp: int,
        fast_mv: int,
        fast_pm: int,
        fast_s: int,
        r_pm: int,
        r_s: int,
        capacity_pm: int,
    ) -> None:
        self.soc_bp = array("H", soc_bp)
        self.ocv_dmv = array("H", ocv_dmv)
        self.half_dmv = array("H", half_dmv)
        self.thermal_uv_k = array("h", thermal_uv_k)
        self.r_soc_bp = array("H", r_soc_bp)
        self.r_dc = array("h", r_dc)
        self.r0 = array("I", r0)
        self.r1 = array("I", r1)
        self.r2 = array("I", r2)
        self.tau1_ms = tau1_ms
        self.tau2_ms = tau2_ms
        self.hysteresis_bp = hysteresis_bp
        self.bias_mv = bias_mv
        self.bias_bp = bias_bp
        self.bias_span_bp = bias_span_bp
        self.fast_mv = fast_mv
        self.fast_pm = fast_pm
        self.fast_s = fast_s
        self.r_pm = r_pm
        self.r_s = r_s
        self.capacity_pm = capacity_pm

    def crc(self) -> int:
        """CRC-32 of all numbers, by which a board says which circuit it estimates with."""
        data = b""
        for table in (
            self.soc_bp, self.ocv_dmv, self.half_dmv, self.thermal_uv_k, self.r_soc_bp,
            self.r_dc, self.r0, self.r1, self.r2,
        ):  # fmt: skip
            data += b"".join([struct.pack("<l", value) for value in table])
        single = (
            self.tau1_ms, self.tau2_ms, self.hysteresis_bp, self.bias_mv, self.bias_bp,
            self.bias_span_bp, self.fast_mv, self.fast_pm, self.fast_s, self.r_pm, self.r_s,
            self.capacity_pm,
        )  # fmt: skip
        data += struct.pack("<12l", *single)
        return crc32(data, 0, len(data))
