"""SunSpec's own models 802 (battery) and 805 (module), written every cycle.

Scale factors are chosen once, from the pack's ratings: the finest with which twice the highest
current, and the highest voltage and power, still fit 16 bits. A figure beyond that becomes "not
available". The pack is one string of one module. A cell has no sensor of its own: cell ``i`` of
``n`` gets sensor ``i * sensors // n``, for sensors are spread evenly along the pack.

| 802 ``State`` | from ``St`` |
|---|---|
| 2 initializing | START, PRECHARGE |
| 1 disconnected | STANDBY, SHUTDOWN |
| 3 connected | ON, CHARGE_ONLY, DISCHARGE_ONLY, OPENING |
| 5 SOC protection | CHARGE_ONLY, DISCHARGE_ONLY where a cell's voltage is the reason |
| 4 standby | SERVICE |
| 99 fault | BLOCKED, FAULT |
"""

from struct import pack_into

from common import models
from common.codes import State, Switch
from common.mp import const
from common.registers import Block, RegisterMap, point_type
from firmware.estimators.estimators import Estimators
from firmware.protection import Protection
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

NONE16 = const(0xFFFF)
NONE32 = 0xFFFFFFFF
NONE_SIGNED = const(-0x8000)

_LITHIUM_ION = const(4)
_LOCAL = const(1)  # LocRemCtl: the pack decides, a client may ask
_FULL_BP = const(9900)
_EMPTY_BP = const(100)

_OFF = const(1)  # ChaSt
_EMPTY = const(2)
_DISCHARGING = const(3)
_CHARGING = const(4)
_FULL = const(5)
_HOLDING = const(6)
_TESTING = const(7)

# The bit of Evt1 of each fault, by its number in ``codes.Fault``; what SunSpec has no bit for is
# OTHER_ALARM (25) or OTHER_WARNING (26).
_EVT1 = (
    b"\x09\x0b\x0b"  # cell over-, under-voltage, deep discharge
    b"\x05\x07\x07"  # over-current, short circuit
    b"\x01\x03\x01\x03\x01"  # temperatures
    b"\x19\x19"  # sensor, stack
    b"\x00\x1a\x19\x19\x00"  # AFE communication, reset, protection, failure; stale
    b"\x14\x1c\x1a\x1a"  # switch, configuration, storage, overrun
    b"\x01\x11\x19\x1a"  # rise, spread, wire, offset
    b"\x14\x14\x16\x1a"  # welded, precharge, insulation, clock
)
_LAST_PAIR = const(11)  # bits 1 to 12 are alarms and warnings in turn
_OTHER_WARNING = const(1 << 26)
_VOLTAGE_FAULTS = const(7)  # CELL_OVER_VOLTAGE, CELL_UNDER_VOLTAGE, CELL_DEEP_DISCHARGE
_ONE_WAY = (State.CHARGE_ONLY, State.DISCHARGE_ONLY)
_STATE = b"\x00\x02\x01\x03\x03\x03\x63\x63\x04\x02\x03\x01"  # by St, as above


def span(block: Block, first: str, last: str) -> "tuple[str, int]":
    """``struct`` format of the points ``first`` to ``last``, and where they stand in the image.

    One ``pack_into`` then writes them all, without an object for any: ten times as fast as
    ``Block.set`` one by one.
    """
    codes = ">"
    inside = False
    for name, kind, _sf, _access in models.model(block.layout.id)[3]:
        if name == first:
            inside = True
        if inside:
            codes += point_type(kind)[2]
        if inside and name == last:
            return codes, block.start + 2 * block.layout.offset(first)
    raise ValueError("%s ... %s do not follow each other" % (first, last))


def u16(value: "int | None") -> int:
    """``value``, or "not available" when it is ``None`` or does not fit."""
    return NONE16 if value is None or not 0 <= value < NONE16 else value


def u32(value: "int | None") -> int:
    """``value``, or "not available" when it is ``None`` or does not fit."""
    return NONE32 if value is None or not 0 <= value < NONE32 else value


def scale_factor(highest: int, most: int) -> int:
    """The power of ten, at least -3, with which ``highest`` thousandths come to ``most`` at most.

    >>> scale_factor(160000, 32767)  # 160 A in mA
    -2
    """
    power = -3
    while highest > most:
        highest //= 10
        power += 1
    return power


def rounded(value: int, divisor: int) -> int:
    """``value / divisor``, rounded to the nearest, halves away from zero."""
    if value < 0:
        return -((-value + divisor // 2) // divisor)
    return (value + divisor // 2) // divisor


def evt1(faults: int, warned: int) -> int:
    """SunSpec's alarm and warning bits for the faults and warnings whose bits are set."""
    bits = 0
    if not faults | warned:
        return bits
    for fault in range(len(_EVT1)):
        bit = _EVT1[fault]
        if faults >> fault & 1:
            bits |= 1 << bit
        elif warned >> fault & 1:
            # The warning stands beside the alarm of the same value.
            bits |= 2 << bit if bit & 1 and bit <= _LAST_PAIR else _OTHER_WARNING
    return bits


class SunSpecModels:
    """Writes models 802 and 805 of one ``RegisterMap``."""

    def __init__(self, register_map: RegisterMap, settings: Settings) -> None:
        self._image = register_map.image
        self._settings = settings
        self._n = settings.n_cells
        self._battery = register_map.block(models.BATTERY)
        self._module = register_map.block(models.MODULE)
        self._rest_ma = max(settings.rated_mah // 200, 10)
        self.testing = False  # a commanded test runs
        self._n_sensors = settings.n_sensors  # grows to the highest one that was ever there
        self.use_settings()
        self._charge_span = span(self._battery, "SoC", "Hb")
        self._state_span = span(self._battery, "Typ", "SetOp")
        self._module_span = span(self._module, "SoC", "NCellBal")
        layout = self._module.layout
        self._cells_at = self._module.start + 2 * layout.cells_offset
        self._cell_bytes = 2 * layout.cell_words

    def use_settings(self) -> None:
        """Choose scales and write what does not change; the next ``update`` follows."""
        self._scale()
        self._fill_battery()
        self._fill_module()

    def _scale(self) -> None:
        s = self._settings
        volts_sf = scale_factor(s.cov_mv * self._n, 65534)
        highest_ma = 2 * max(s.occ_ma, s.ocd_ma)
        amps_sf = scale_factor(highest_ma, 32767)
        limit_sf = scale_factor(max(s.occ_ma, s.ocd_ma), 65534)
        watts_sf = scale_factor(s.cov_mv * self._n // 1000 * highest_ma, 32767)
        self._volts = 10 ** (3 + volts_sf)
        self._amps = 10 ** (3 + amps_sf)
        self._limit = 10 ** (3 + limit_sf)
        self._watts = 10 ** (3 + watts_sf)
        put = self._battery.set
        put("V_SF", volts_sf)
        put("CellV_SF", -3)
        put("A_SF", amps_sf)
        put("AMax_SF", limit_sf)
        put("W_SF", watts_sf)

    def _fill_battery(self) -> None:
        s = self._settings
        put = self._battery.set
        mean_mv = _mean_ocv_mv(s)
        power_mw = max(s.occ_ma, s.ocd_ma) * self._n * mean_mv // 1000
        for name, sf, value in (
            ("AHRtg", "AHRtg_SF", s.rated_mah),
            ("WHRtg", "WHRtg_SF", s.rated_mah * self._n * mean_mv // 1000),
        ):
            power = scale_factor(value, 65534)
            put(sf, power)
            put(name, rounded(value, 10 ** (3 + power)))
        power = scale_factor(power_mw, 65534)
        put("WChaDisChaMax_SF", power)
        for name, ma in (("WChaRteMax", s.occ_ma), ("WDisChaRteMax", s.ocd_ma)):
            put(name, rounded(ma * self._n * mean_mv // 1000, 10 ** (3 + power)))
        for name in ("SoC_SF", "DoD_SF", "SoH_SF"):
            put(name, -2)
        put("DisChaRte_SF", -4)
        put("SoCMax", 10000)
        put("SoCMin", 0)
        put("AlmRst", 0)
        put("Evt2", 0)

    def _fill_module(self) -> None:
        put = self._module.set
        put("StrIdx", 1)
        put("ModIdx", 1)
        self._module.set_text("SN", self._settings.serial)
        for name in ("SoC_SF", "DoD_SF", "SoH_SF"):
            put(name, -2)
        put("V_SF", self._battery.get("V_SF"))
        put("CellV_SF", -3)
        put("Tmp_SF", -1)

    def set_self_discharge(self, a_day: "int | None") -> None:
        """Self-discharge in 0.0001 % of the rated energy a day."""
        self._battery.set("DisChaRte", a_day)

    def update(self, s: Snapshot, protection: Protection, estimators: Estimators) -> None:
        """Write both models; figures of an incomplete cycle are "not available"."""
        soc_bp = u16(estimators.soc_bp)
        soh_bp = u16(estimators.soh_bp)
        dod_bp = 10000 - soc_bp if soc_bp <= 10000 else NONE16
        centi = estimators.fec_centi
        cycles = NONE32 if centi is None else centi // 100
        if s.valid:
            volts = u16(rounded(s.sum_mv, self._volts))
            low_mv, high_mv = s.min_mv, s.max_mv
            mean_mv = rounded(s.sum_mv, self._n)
        else:
            volts = low_mv = high_mv = mean_mv = NONE16
        f, at = self._charge_span
        charge_state = self._charge_state(s, soc_bp)
        heartbeat = s.seq % NONE16
        pack_into(
            f, self._image, at,
            soc_bp, dod_bp, soh_bp, cycles, charge_state, _LOCAL, heartbeat,
        )  # fmt: skip
        self._update_state(s, protection, volts, low_mv, high_mv, mean_mv)
        self._update_module(s, soc_bp, dod_bp, soh_bp, cycles, volts, low_mv, high_mv, mean_mv)

    def _charge_state(self, s: Snapshot, soc_bp: int) -> int:
        if not s.valid:
            return NONE16
        if not s.switches & (Switch.CHARGE | Switch.DISCHARGE):
            return _OFF
        if self.testing:
            return _TESTING
        if s.current_ma > self._rest_ma:
            return _CHARGING
        if s.current_ma < -self._rest_ma:
            return _DISCHARGING
        if _FULL_BP <= soc_bp <= 10000:
            return _FULL
        return _EMPTY if soc_bp <= _EMPTY_BP else _HOLDING

    def _update_state(
        self, s: Snapshot, p: Protection, volts: int, low_mv: int, high_mv: int, mean_mv: int
    ) -> None:
        state = p.state
        active = p.active
        latched = p.latched
        sunspec_state = _STATE[state]
        if state in _ONE_WAY and active & _VOLTAGE_FAULTS:
            sunspec_state = 5
        amps = watts = NONE_SIGNED
        if s.valid:
            ma = s.current_ma
            amps = _i16(rounded(ma, self._amps))
            # mV * mA passes 31 bits: the amperes and the thousandths on top are taken apart
            size_ma = ma if ma >= 0 else -ma
            size_mw = s.sum_mv * (size_ma // 1000) + (s.sum_mv * (size_ma % 1000) + 500) // 1000
            watts = _i16(rounded(size_mw if ma >= 0 else -size_mw, self._watts))
        where = 1 if s.valid else NONE16  # string and module of the extreme cells
        f, at = self._state_span
        pack_into(
            f, self._image, at,
            _LITHIUM_ION, sunspec_state, state, NONE32,
            evt1(active | latched, p.warned), 0, active, latched,
            volts, self._whole(p.cvl_mv, self._volts),
            self._whole(self._settings.cuv_mv * self._n, self._volts),
            high_mv, where, where, low_mv, where, where, mean_mv,
            amps,
            self._whole(p.ccl_ma, self._limit),
            self._whole(p.dcl_ma, self._limit),
            watts, 0, NONE_SIGNED,
            1 if p.connected else 2,
        )  # fmt: skip

    @staticmethod
    def _whole(value: "int | None", divisor: int) -> int:
        """A limit in the register's unit, rounded down; "not available" when there is none."""
        return NONE16 if value is None else u16(value // divisor)

    def _update_module(
        self,
        s: Snapshot,
        soc_bp: int,
        dod_bp: int,
        soh_bp: int,
        cycles: int,
        volts: int,
        low_mv: int,
        high_mv: int,
        mean_mv: int,
    ) -> None:
        n_sensors = self._count_sensors(s)
        total_dc = known = 0
        hot_cell = cold_cell = low_cell = high_cell = NONE16
        low_dc = high_dc = mean_dc = UNKNOWN_DC
        at = self._cells_at
        balanced = 0
        bled = s.balancing if s.valid else 0
        for i in range(self._n):
            dc = s.temp_dc[i * n_sensors // self._n] if s.valid else UNKNOWN_DC
            if dc != UNKNOWN_DC:
                total_dc += dc
                known += 1
                if hot_cell == NONE16 or dc > high_dc:
                    high_dc, hot_cell = dc, i + 1
                if cold_cell == NONE16 or dc < low_dc:
                    low_dc, cold_cell = dc, i + 1
            balancing = bled >> i & 1
            balanced += balancing
            pack_into(
                ">HhL", self._image, at,
                s.cell_mv[i] if s.valid else NONE16, dc, balancing if s.valid else NONE32,
            )  # fmt: skip
            at += self._cell_bytes
        if known:
            mean_dc = rounded(total_dc, known)
        if s.valid:
            low_cell, high_cell = s.min_cell + 1, s.max_cell + 1
        else:
            balanced = NONE16
        f, at = self._module_span
        pack_into(
            f, self._image, at,
            soc_bp, dod_bp, soh_bp, cycles, volts, high_mv, high_cell, low_mv, low_cell, mean_mv,
            high_dc, hot_cell, low_dc, cold_cell, mean_dc, balanced,
        )  # fmt: skip

    def _count_sensors(self, s: Snapshot) -> int:
        # A sensor that fails must not move the others' cells: the count never falls.
        n = self._n_sensors
        for i in range(n, len(s.temp_dc)):
            if s.valid and s.temp_dc[i] != UNKNOWN_DC:
                n = i + 1
        self._n_sensors = n
        return n


def _i16(value: int) -> int:
    return value if -0x7FFF <= value <= 0x7FFF else NONE_SIGNED


def _mean_ocv_mv(settings: Settings) -> int:
    """Mean open-circuit voltage of a cell over its whole charge: what Wh and Ah differ by."""
    soc_bp = settings.profile.soc_bp
    ocv_mv = settings.profile.ocv_mv
    area = 0
    for i in range(1, len(soc_bp)):
        area += (soc_bp[i] - soc_bp[i - 1]) * (ocv_mv[i] + ocv_mv[i - 1])
    return area // (2 * (soc_bp[-1] - soc_bp[0]))
