"""The primary protections: threshold, delay, fault, recovery, latch.

Each fault is one table row: when its condition holds, the alert bit shows; when it has held for
the delay, the alert gives way to the status bit; when the recovery condition has held for the
recovery time, the status clears. COV and CUV watch the true cell voltages and OCC, OCD1, OCD2 and
SCD the true shunt voltage, because the chip uses comparators for them and not the ADC's readings.
"""

from collections.abc import Callable
from dataclasses import dataclass

from . import registers as reg
from .memory import DataMemory

CELL_STEP_V = 0.0506
DELAY_STEP_S = 0.0033
SCD_UV = tuple(
    mv * 1000 for mv in (10, 20, 40, 60, 80, 100, 125, 150, 175, 200, 250, 300, 350, 400, 450, 500)
)


@dataclass(slots=True)
class Conditions:
    """The world as the protections see it in one step. NaN: not known, no comparison holds."""

    cell_max_v: float = 0.0
    cell_min_v: float = 0.0
    shunt_uv: float = 0.0
    current_ma: float = 0.0
    cc1_usera: float = 0.0
    cell_max_c: float = 0.0
    cell_min_c: float = 0.0
    fet_c: float = 0.0
    die_c: float = 0.0
    pack_above_stack_v: float = 0.0
    stack_off_v: float = 0.0  # the stack as measured less the sum of the cells
    cells: int = 0
    charge_gate: bool = False  # how the FETs are driven
    discharge_gate: bool = False


Condition = Callable[[Conditions], bool]


class Fault:
    """One protection's alert, status and timers."""

    __slots__ = (
        "alert",
        "bit",
        "clear",
        "delay_s",
        "over",
        "recovery_s",
        "register",
        "status",
        "t",
    )

    def __init__(
        self,
        register: int,
        bit: int,
        delay_s: float,
        over: Condition,
        clear: Condition,
        recovery_s: float,
    ) -> None:
        self.register, self.bit = register, bit  # register 0, 1, 2 = Safety A, B, C
        self.delay_s, self.recovery_s = delay_s, recovery_s
        self.over, self.clear = over, clear
        self.alert = self.status = False
        self.t = 0.0

    def step(self, dt_s: float, now: Conditions) -> bool:
        """Advance by ``dt_s``; True when the fault has just tripped."""
        if self.status:
            self.t = self.t + dt_s if self.clear(now) else 0.0
            if self.t > 0.0 and self.t >= self.recovery_s:
                self.status = False
                self.t = 0.0
            return False
        if not self.over(now):
            self.alert = False
            self.t = 0.0
            return False
        self.t += dt_s
        if self.t < self.delay_s:
            self.alert = True
            return False
        self.alert, self.status, self.t = False, True, 0.0
        return True


class Latch:
    """Counts trips of some faults and latches at a limit; a limit of 0 is off.

    One trip is forgotten every ``decrement_s``, latched or not. ``clear`` None: only the host's
    command ends it. A latch that recovers by itself before its trips are forgotten latches again.
    """

    def __init__(
        self,
        bit: int,
        limit: int,
        decrement_s: float,
        recovery_s: float,
        clear: Condition | None,
    ) -> None:
        self.bit, self.limit = bit, limit
        self.decrement_s, self.recovery_s = decrement_s, recovery_s
        self.clear = clear
        self.count = 0
        self.status = False
        self._forget_s = 0.0
        self._clear_s = 0.0

    def tripped(self) -> None:
        """One of its faults has tripped."""
        if not self.limit:
            return
        self._forget_s = 0.0
        self.count += 1
        self.status = self.status or self.count >= self.limit

    def recover(self) -> None:
        """The host's command."""
        self.status = False
        self.count = 0
        self._clear_s = 0.0

    def step(self, dt_s: float, now: Conditions, base_fault: bool) -> None:
        """Count down, or recover when latched."""
        if self.count and not base_fault:
            self._forget_s += dt_s
            if self._forget_s >= self.decrement_s:
                self._forget_s = 0.0
                self.count -= 1
        if not self.status or self.clear is None:
            return
        self._clear_s = self._clear_s + dt_s if self.clear(now) else 0.0
        if self._clear_s > 0.0 and self._clear_s >= self.recovery_s:
            self._clear_s = 0.0
            self.status = self.count >= self.limit


class Protections:
    """All of them; ``alert`` and ``status`` are the three Safety registers."""

    def __init__(self) -> None:
        self.alert, self.status = [0, 0, 0], [0, 0, 0]
        self._faults: list[Fault] = []
        self.host_silent_s = 0.0
        self._hwd_enabled = False
        self._hwd_delay_s = 0.0

    def reset(self) -> None:
        """Power-on: nothing tripped, nothing counted."""
        self._faults = []
        self.status, self.alert = [0, 0, 0], [0, 0, 0]
        self.host_silent_s = 0.0

    def configure(self, memory: DataMemory) -> None:
        """Build the table from the data memory. Faults and counts start anew."""
        item = memory.integer
        self._recovery_s = item("recovery_time_s")
        enabled = (item("enabled_a"), item("enabled_b"), item("enabled_c"))
        rows = [*self._voltage_rows(memory), *self._current_rows(memory)]
        rows += self._temperature_rows(memory)
        self._faults = [
            fault for fault in rows if enabled[fault.register] & fault.bit and fault.delay_s >= 0
        ]
        self._hwd_enabled = bool(enabled[2] & reg.HWDF)
        self._hwd_delay_s = item("hwd_delay_s")
        self._latches(memory, enabled)
        self.status, self.alert = [0, 0, 0], [0, 0, 0]

    def _voltage_rows(self, memory: DataMemory) -> list[Fault]:
        item = memory.integer
        cov = item("cov_threshold") * CELL_STEP_V
        cov_back = cov - item("cov_hysteresis") * CELL_STEP_V
        cuv = item("cuv_threshold") * CELL_STEP_V
        cuv_back = cuv + item("cuv_hysteresis") * CELL_STEP_V
        self._cov_back_v = cov_back
        return [
            Fault(
                0,
                reg.COV,
                _slow_delay(item("cov_delay")),
                lambda n: n.cell_max_v >= cov,
                lambda n: n.cell_max_v < cov_back,
                self._recovery_s,
            ),
            Fault(
                0,
                reg.CUV,
                _slow_delay(item("cuv_delay")),
                lambda n: n.cell_min_v <= cuv,
                lambda n: n.cell_min_v > cuv_back,
                self._recovery_s,
            ),
        ]

    def _current_rows(self, memory: DataMemory) -> list[Fault]:
        item = memory.integer
        occ_uv = item("occ_threshold") * 2000
        occ_delta_v = item("occ_pack_tos_cv") / 100.0
        occ_back_ma = item("occ_recovery_ma")
        back_ma = item("ocd_recovery_ma")
        rows = [
            Fault(
                0,
                reg.OCC,
                _slow_delay(item("occ_delay")),
                lambda n: n.shunt_uv > occ_uv,
                lambda n: n.current_ma <= occ_back_ma or n.pack_above_stack_v <= -occ_delta_v,
                self._recovery_s,
            )
        ]
        for bit, name in ((reg.OCD1, "ocd1"), (reg.OCD2, "ocd2")):
            uv = item(name + "_threshold") * 2000
            rows.append(
                Fault(
                    0,
                    bit,
                    _slow_delay(item(name + "_delay")),
                    lambda n, uv=uv: -n.shunt_uv > uv,  # type: ignore[misc]
                    lambda n: n.current_ma >= back_ma,
                    self._recovery_s,
                )
            )
        ocd3 = item("ocd3_threshold")
        rows.append(
            Fault(
                2,
                reg.OCD3,
                item("ocd3_delay_s"),
                lambda n: n.cc1_usera <= ocd3,
                lambda n: n.current_ma >= back_ma,
                self._recovery_s,
            )
        )
        scd_uv = SCD_UV[min(item("scd_threshold"), len(SCD_UV) - 1)]
        scd_delay = item("scd_delay")
        rows.append(
            Fault(
                0,
                reg.SCD,
                15e-6 * (scd_delay - 1) if scd_delay else -1.0,
                lambda n: -n.shunt_uv > scd_uv,
                lambda _n: True,
                item("scd_recovery_s"),
            )
        )
        return rows

    def _temperature_rows(self, memory: DataMemory) -> list[Fault]:
        rows = []
        for bit, name, source, hot in (
            (reg.OTC, "otc", "cell_max_c", True),
            (reg.OTD, "otd", "cell_max_c", True),
            (reg.OTF, "otf", "fet_c", True),
            (reg.OTINT, "otint", "die_c", True),
            (reg.UTC, "utc", "cell_min_c", False),
            (reg.UTD, "utd", "cell_min_c", False),
            (reg.UTINT, "utint", "die_c", False),
        ):
            threshold = memory.integer(name + "_threshold_c")
            back = memory.integer(name + "_recovery_c")
            sign = 1 if hot else -1
            rows.append(
                Fault(
                    1,
                    bit,
                    memory.integer(name + "_delay_s"),
                    _beyond(source, sign, threshold),
                    _beyond(source, -sign, back),
                    self._recovery_s,
                )
            )
        return rows

    def _latches(self, memory: DataMemory, enabled: tuple[int, int, int]) -> None:
        item = memory.integer
        cov_back = self._cov_back_v
        ocdl_ma, scdl_ma = item("ocdl_recovery_ma"), item("scdl_recovery_ma")
        options = item("protection_configuration")
        by_current = (
            bool(options & reg.PC_OCDL_CURR_RECOV),
            bool(options & reg.PC_SCDL_CURR_RECOV),
        )
        rows: list[tuple[str, int, Condition | None]] = [
            ("covl", reg.COVL, lambda n: n.cell_max_v < cov_back),
            ("ocdl", reg.OCDL, (lambda n: n.current_ma >= ocdl_ma) if by_current[0] else None),
            ("scdl", reg.SCDL, (lambda n: n.current_ma >= scdl_ma) if by_current[1] else None),
        ]
        self.covl, self.ocdl, self.scdl = (
            Latch(
                bit,
                item(name + "_limit") if enabled[2] & bit else 0,
                item(name + "_decrement_s"),
                item(name + "_recovery_s"),
                clear,
            )
            for name, bit, clear in rows
        )

    def heard_host(self) -> None:
        """A valid communication: the host watchdog starts again and its fault clears."""
        self.host_silent_s = 0.0
        self.status[2] &= ~reg.HWDF

    def step(self, dt_s: float, now: Conditions) -> None:
        """Advance all by ``dt_s``."""
        alert, status = [0, 0, 0], [0, 0, 0]
        for fault in self._faults:
            if fault.step(dt_s, now):
                self._count_trip(fault)
            if fault.status:
                status[fault.register] |= fault.bit
            elif fault.alert:
                alert[fault.register] |= fault.bit
        for latch, base in (
            (self.covl, status[0] & reg.COV),
            (self.ocdl, status[0] & (reg.OCD1 | reg.OCD2) | status[2] & reg.OCD3),
            (self.scdl, status[0] & reg.SCD),
        ):
            if latch.limit:
                latch.step(dt_s, now, bool(base))
                if latch.status:
                    status[2] |= latch.bit
                elif latch.count:
                    alert[2] |= latch.bit
        self.host_silent_s += dt_s
        if self._hwd_enabled and self.host_silent_s >= self._hwd_delay_s:
            status[2] |= reg.HWDF
        self.alert, self.status = alert, status

    def _count_trip(self, fault: Fault) -> None:
        if fault.register == 0 and fault.bit == reg.COV:
            self.covl.tripped()
        elif fault.register == 0 and fault.bit == reg.SCD:
            self.scdl.tripped()
        elif (fault.register, fault.bit) in {(0, reg.OCD1), (0, reg.OCD2), (2, reg.OCD3)}:
            self.ocdl.tripped()


def _slow_delay(setting: int) -> float:
    """3.3 ms x (2 + setting); a setting of 0 turns the protection off (negative here)."""
    return DELAY_STEP_S * (2 + setting) if setting else -1.0


def _beyond(source: str, sign: int, limit: float) -> Condition:
    """``source`` at or past ``limit`` in the direction of ``sign``."""

    def over(now: Conditions) -> bool:
        value: float = getattr(now, source)
        return value * sign >= limit * sign

    return over
