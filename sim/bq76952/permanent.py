"""The permanent failures: what trips them, and that nothing but a reset ends them.

They look at what the ADC and the coulomb counter have measured, not at the comparators. Status
registers: A what the pack did, B the switches and the unevenness of the cells, C what is wrong
with the chip itself (``faults.chip_failure``), D the sum of the cells against the stack.
"""

from collections.abc import Callable

from . import registers as reg
from .memory import DataMemory
from .protections import Condition, Conditions, Fault

_A, _B, _D = 0, 1, 3


class PermanentFails:
    """``alert`` and ``status`` are PF A to D. ``checks_fets``: whether CFETF and DFETF look."""

    def __init__(self, *, checks_fets: bool) -> None:
        self._checks_fets = checks_fets
        self.alert, self.status = [0, 0, 0, 0], [0, 0, 0, 0]
        self._faults: list[Fault] = []
        self._chip = 0
        self._scdl = False

    def reset(self) -> None:
        """Power-on or RESET: nothing has failed, for the status is kept in RAM only."""
        self.alert, self.status = [0, 0, 0, 0], [0, 0, 0, 0]
        self._faults = []

    def configure(self, memory: DataMemory) -> None:
        """Build the table from the data memory; what has failed stays failed."""
        item = memory.integer
        on = (item("enabled_pf_a"), item("enabled_pf_b"), 0, item("enabled_pf_d"))
        self._chip = item("enabled_pf_c")
        self._scdl = bool(on[_B] & reg.PF_SCDL)
        rows = [*self._pack_rows(item), *self._switch_rows(item)]
        self._faults = [
            Fault(register, bit, item(delay), over, _never, 0)
            for register, bit, delay, over in rows
            if on[register] & bit
        ]

    def _pack_rows(self, item: Callable[[str], int]) -> list[tuple[int, int, str, Condition]]:
        suv, sov, cudep = item("suv_mv") / 1e3, item("sov_mv") / 1e3, item("cudep_mv") / 1e3
        socc, socd = item("socc_usera"), item("socd_usera")
        sot, sotf = item("sot_c"), item("sotf_c")
        tos_v = item("tos_mv") / 1e3
        return [
            (_A, reg.PF_SUV, "suv_delay_s", lambda n: n.cell_min_v <= suv),
            (_A, reg.PF_SOV, "sov_delay_s", lambda n: n.cell_max_v >= sov),
            (_A, reg.PF_SOCC, "socc_delay_s", lambda n: n.cc1_usera >= socc),
            (_A, reg.PF_SOCD, "socd_delay_s", lambda n: n.cc1_usera <= socd),
            (_A, reg.PF_SOT, "sot_delay_s", lambda n: n.cell_max_c >= sot),
            (_A, reg.PF_SOTF, "sotf_delay_s", lambda n: n.fet_c >= sotf),
            (_A, reg.PF_CUDEP, "cudep_delay_s", lambda n: n.cell_min_v < cudep),
            (_D, reg.PF_TOSF, "tos_delay_s", lambda n: abs(n.stack_off_v) >= n.cells * tos_v),
        ]

    def _switch_rows(self, item: Callable[[str], int]) -> list[tuple[int, int, str, Condition]]:
        cfetf, dfetf = item("cfetf_ma"), item("dfetf_ma")
        relaxed = (item("vimr_check_mv") / 1e3, item("vimr_relax_s"), item("vimr_mv") / 1e3)
        active = (item("vima_check_mv") / 1e3, item("vima_active_ma"), item("vima_mv") / 1e3)
        self._relax_ma = item("vimr_relax_ma")
        self._relax_s = 0.0
        rows: list[tuple[int, int, str, Condition]] = [
            (
                _B,
                reg.PF_VIMR,
                "vimr_delay_s",
                lambda n: (
                    n.cell_max_v > relaxed[0]
                    and self._relax_s >= relaxed[1]
                    and n.cell_max_v - n.cell_min_v >= relaxed[2]
                ),
            ),
            (
                _B,
                reg.PF_VIMA,
                "vima_delay_s",
                lambda n: (
                    n.cell_max_v > active[0]
                    and abs(n.current_ma) > active[1]
                    and n.cell_max_v - n.cell_min_v >= active[2]
                ),
            ),
        ]
        if self._checks_fets:
            rows += [
                (
                    _B,
                    reg.PF_CFETF,
                    "cfetf_delay_s",
                    lambda n: not n.charge_gate and n.current_ma >= cfetf,
                ),
                (
                    _B,
                    reg.PF_DFETF,
                    "dfetf_delay_s",
                    lambda n: not n.discharge_gate and n.current_ma <= dfetf,
                ),
            ]
        return rows

    def step(self, dt_s: float, now: Conditions, safety_c: int, chip_failure: int) -> None:
        """Look for ``dt_s``; ``safety_c`` is Safety Status C."""
        self._relax_s = self._relax_s + dt_s if abs(now.current_ma) < self._relax_ma else 0.0
        self.alert = [0, 0, 0, 0]
        for fault in self._faults:
            fault.step(dt_s, now)
            if fault.status:
                self.status[fault.register] |= fault.bit
            elif fault.alert:
                self.alert[fault.register] |= fault.bit
        if self._scdl and safety_c & reg.SCDL:
            self.status[_B] |= reg.PF_SCDL
        self.status[2] |= chip_failure & self._chip


def _never(_now: Conditions) -> bool:
    return False
