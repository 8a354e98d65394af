"""Which FETs are on: test mode, host, protections, permanent fail, sleep, predischarge.

Predischarge: where PDSG_EN is set the DSG FET waits, and the PDSG FET conducts instead, until the
LD pin is within the stop delta of the stack, or for the timeout; 0 switches either condition off.
"""

import math

from . import registers as reg
from .memory import DataMemory

_ALL_OFF = reg.FC_DSG_OFF | reg.FC_PDSG_OFF | reg.FC_CHG_OFF | reg.FC_PCHG_OFF


class Fets:
    """The FET logic. ``charge`` and ``discharge`` are the outcome of the last ``update``.

    Body-diode protection turns the other FET on while current flows through its diode. It shows
    in FET Status (``charge_gate``, ``discharge_gate``) but not in ``charge`` and ``discharge``:
    the chip takes it back within milliseconds when the current turns, so it never allows any.
    ``predischarge`` is the PDSG FET.
    """

    def __init__(self) -> None:
        self.charge = self.discharge = self.predischarge = False
        self._missing_v = math.inf  # not measured yet
        self._waited_s = 0.0
        self.charge_gate = self.discharge_gate = False
        self.manufacturing = 0
        self.host_off = 0

    def reset(self, memory: DataMemory) -> None:
        """Power-on: Manufacturing Status from its initial value, the host's blocks released."""
        self.manufacturing = memory.integer("mfg_status_init") & 0xFF
        self.off()
        self.host_off = 0

    def configure(self, memory: DataMemory) -> None:
        """Take over the FET options and which protection opens which FET."""
        item = memory.integer
        options = item("fet_options")
        self._driven = bool(options & reg.FO_FET_CTRL_EN)
        self._series = bool(options & reg.FO_SFET)
        self._predischarges = bool(options & reg.FO_PDSG_EN)
        self._timeout_s = item("pdsg_timeout") / 100
        self._stop_delta_v = item("pdsg_stop_delta") / 100
        self._charge_in_sleep = bool(options & reg.FO_SLEEPCHG)
        self.host_allowed = bool(options & reg.FO_HOST_FET_EN)
        if options & reg.FO_FET_INIT_OFF:
            self.host_off = _ALL_OFF
        self._chg = (item("chg_fet_a"), item("chg_fet_b"), item("chg_fet_c"))
        self._dsg = (item("dsg_fet_a"), item("dsg_fet_b"), item("dsg_fet_c"))
        self._body_diode_ma = item("body_diode_ma")
        self._pf_opens = bool(item("protection_configuration") & 0x02)

    def host(self, off: int) -> bool:
        """Set the host's block bits (FET_CONTROL); False where the options forbid it."""
        if self.host_allowed:
            self.host_off = off & _ALL_OFF
        return self.host_allowed

    def toggle(self, bit: int) -> None:
        """Toggle a bit of Manufacturing Status; FET test bits only count in test mode."""
        if bit in {reg.MS_CHG_TEST, reg.MS_DSG_TEST} and self.manufacturing & reg.MS_FET_EN:
            return
        self.manufacturing ^= bit
        if bit == reg.MS_FET_EN:
            self.manufacturing &= ~(reg.MS_CHG_TEST | reg.MS_DSG_TEST)

    def off(self) -> None:
        """CONFIG_UPDATE, deep sleep, shutdown: both open."""
        self.charge = self.discharge = self.charge_gate = self.discharge_gate = False
        self.predischarge = False

    def pass_time(self, dt_s: float, missing_v: float) -> None:
        """Note how far the LD pin is below the stack, and how long the PDSG FET has been on."""
        self._missing_v = missing_v
        self._waited_s = self._waited_s + dt_s if self.predischarge else 0.0

    def update(
        self, status: list[int], permanent_fail: bool, asleep: bool, current_ma: float
    ) -> None:
        """Decide from the safety status registers and the rest."""
        a, b, c = status
        chg, dsg = self._chg, self._dsg
        mode = self.manufacturing
        if not self._driven or (permanent_fail and self._pf_opens):
            self.off()
            return
        if mode & reg.MS_FET_EN:
            charge = not (self.host_off & reg.FC_CHG_OFF or (asleep and not self._charge_in_sleep))
            discharge = not self.host_off & reg.FC_DSG_OFF
        else:
            charge = bool(mode & reg.MS_CHG_TEST)
            discharge = bool(mode & reg.MS_DSG_TEST)
        was_on = self.discharge
        self.charge = charge and not (a & chg[0] or b & chg[1] or c & chg[2])
        self.discharge = discharge and not (a & dsg[0] or b & dsg[1] or c & dsg[2])
        self.predischarge = False
        if self.discharge and not was_on and self._predischarges and not self._is_through():
            self.discharge = False
            self.predischarge = not self.host_off & reg.FC_PDSG_OFF
        self.charge_gate, self.discharge_gate = self.charge, self.discharge
        if self._series:
            if self.discharge and current_ma < -self._body_diode_ma:
                self.charge_gate = True
            elif self.charge and current_ma > self._body_diode_ma:
                self.discharge_gate = True

    def _is_through(self) -> bool:
        if self._stop_delta_v and self._missing_v <= self._stop_delta_v:
            return True
        return bool(self._timeout_s) and self._waited_s >= self._timeout_s
