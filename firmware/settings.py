"""A pack's settings, checked as a set against the hard limits of its cell profile.

The file ``settings.json`` on the board is one JSON object. ``serial``, ``n_cells``, ``profile``
and ``rated_mah`` must be there; every other key of ``RANGES`` may be, and else follows from the
profile. A pack with settings that contradict each other does not start.

    >>> Settings.from_dict(
    ...     {"serial": "P1", "n_cells": 16, "profile": "lfp", "rated_mah": 100000, "ocd_ma": 80000}
    ... ).check()
"""

import json

from common.crc import crc32
from common.models import MAX_CELLS, REMOTE
from common.profiles import profile as find_profile

MOST_MA = 300000

# name: (lowest, highest); what depends on the profile or on another setting is in ``check``
RANGES = (
    ("n_cells", 3, MAX_CELLS),
    ("rated_mah", 100, 1000000),
    ("address", 1, 247),
    ("baudrate", 9600, 921600),
    ("shunt_uohm", 50, 10000),
    ("period_ms", 100, 2000),
    ("record_every", 1, 3600),
    ("detail_every", 10, 3600),
    ("n_sensors", 1, 4),
    ("stack_tolerance_mv", 50, 5000),
    ("cov_mv", 1500, 5000),
    ("cov_release_mv", 1500, 5000),
    ("cuv_mv", 1000, 5000),
    ("cuv_release_mv", 1000, 5000),
    ("occ_ma", 100, MOST_MA),
    ("ocd_ma", 100, MOST_MA),
    ("otc_dc", -400, 1000),
    ("utc_dc", -400, 1000),
    ("otd_dc", -400, 1000),
    ("utd_dc", -400, 1000),
    ("otf_dc", 400, 1200),
    ("spread_mv", 400, 1200),
    ("contactors", 0, 1),
    ("precharge_ms", 0, 60000),
    ("precharge_mv", 100, 2550),
    ("precharge_tries", 1, 10),
    ("balance_start_mv", 2, 500),
    ("balance_min_mv", 1500, 5000),
    ("balance_max_dc", 0, 700),
    ("balance_max_cells", 0, 8),
)
# The front ends there are drivers for, the most cells of each, and what is drawn on average from a
# cell it bleeds, in 0.1 uA for each mV: 68 ohm for 0.7 of the time; 39 ohm.
AFES = (("bq76952", 16, 103), ("ltc6813", 72, 256))
REQUIRED = ("serial", "n_cells", "profile", "rated_mah")
# What it takes to measure rightly and to be found on the bus under one's own address.
_LEAST = (
    "serial",
    "n_cells",
    "profile",
    "rated_mah",
    "address",
    "baudrate",
    "shunt_uohm",
    "n_sensors",
    "afe",
    "chip_cells",
)
_WIRING = ("afe", "chip_cells")
_MOST_CHIPS = 4
_CHIP_LEAST = 3
_CHIP_MOST = 18
BAUDRATES = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
ANSWER_BYTES = 256  # of the longest Modbus answer
SHUNT_FULL_SCALE_MV = 200  # what the current measurement sees
SERIAL_BYTES = 32  # what ``SN`` of model 1 holds

_ANY = 10000000  # beyond every setting
_CURRENTS = ("occ_ma", "ocd_ma")


class SettingsError(ValueError):
    """A setting that cannot be; the message names it, its value and the way out."""

    rest: "Settings | None" = None  # see ``load``
    names: "tuple[str, ...]" = ()  # two settings of which the first must be below the second


class Settings:
    """What one pack is and within which limits it may work. All limits in integers."""

    def __init__(
        self, serial: str, n_cells: int, profile: str, rated_mah: int, address: int = 1
    ) -> None:
        self.serial = serial
        self.n_cells = n_cells
        self.profile = find_profile(profile)
        self.rated_mah = rated_mah
        self.address = address  # Modbus unit, 1..247
        # Which front end is on the board: the first that measures so many cells.
        self.afe = AFES[n_cells > AFES[0][1]][0]
        self.chip_cells: "tuple[int, ...]" = ()  # of each of its chips; (): as evenly as can be
        self.baudrate = 115200
        self.shunt_uohm = 500
        self.period_ms = 1000  # of measurement and protection
        self.record_every = 10  # cycles between two readings kept for recall
        # Cycles between two writings of what changes slowly. HEALTH takes two requests, of 72
        # cells six: it has to stand still that long.
        self.detail_every = 10
        self.n_sensors = 1  # cell temperature sensors that must answer
        self.stack_tolerance_mv = self._stack_mv()  # sum of cells against the whole stack
        self.cov_mv = self.profile.cell_max_mv  # may be tighter, never looser
        self.cov_release_mv = self.profile.cell_full_mv - 50
        self.cuv_mv = self.profile.cell_empty_mv
        self.cuv_release_mv = self.profile.cell_empty_mv + 200
        self.occ_ma = min(rated_mah * self.profile.charge_c10 // 10, MOST_MA)
        self.ocd_ma = min(rated_mah * self.profile.discharge_c10 // 10, MOST_MA)
        self.otc_dc = self.profile.charge_max_dc
        self.utc_dc = self.profile.charge_min_dc
        self.otd_dc = self.profile.discharge_max_dc
        self.utd_dc = self.profile.discharge_min_dc
        self.otf_dc = 900
        self.spread_mv = 1200  # between the highest and the lowest cell
        self.contactors = 0  # 1: the board drives contactors, which carry both directions
        self.precharge_ms = 0  # for which terminals may be charged through a resistor; 0: none
        self.precharge_mv = 1000  # below the stack, at which that is done
        self.precharge_tries = 3
        self.balance_start_mv = 15  # above the lowest cell
        # On a plateau the voltage does not tell which cell is the fuller one.
        plateau = self.profile.flat_bp[1] > self.profile.flat_bp[0]
        self.balance_min_mv = self.profile.cell_full_mv - (200 if plateau else 400)
        self.balance_max_dc = 450
        self.balance_max_cells = 4

    @classmethod
    def from_dict(cls, values: "dict[str, object]") -> "Settings":
        """Checked settings; ``SettingsError`` names the key that is wrong."""
        for name in REQUIRED:
            if name not in values:
                raise SettingsError("%s is missing (write it into the settings)" % name)
        known = [name for name, _low, _high in RANGES]
        for name in values:
            if name not in known and name not in REQUIRED and name not in _WIRING:
                raise SettingsError(
                    "%s is not a setting (known: serial, profile, %s, %s)"
                    % (name, ", ".join(_WIRING), ", ".join(known))
                )
        for name, low, high in RANGES:
            if name in values:
                _check_range(name, values[name], low, high)
        serial = values["serial"]
        if not isinstance(serial, str) or not 0 < len(serial.encode()) <= SERIAL_BYTES:
            raise SettingsError(
                "serial %r must be a string of 1 to %d bytes" % (serial, SERIAL_BYTES)
            )
        profile = values["profile"]
        if not isinstance(profile, str):
            raise SettingsError("profile %r must be a string" % (profile,))
        n_cells = values["n_cells"]
        rated_mah = values["rated_mah"]
        try:
            settings = cls(serial, n_cells, profile, rated_mah)  # type: ignore[arg-type]
        except ValueError as error:
            raise SettingsError("profile: %s" % error)  # noqa: B904  MicroPython has no "from"
        for name in known:
            if name in values:
                setattr(settings, name, values[name])
        settings.afe = values.get("afe", settings.afe)  # type: ignore[assignment]
        chips = values.get("chip_cells", ())
        settings.chip_cells = tuple(chips) if isinstance(chips, list) else chips  # type: ignore[assignment]
        settings.check()
        return settings

    def check(self) -> None:
        """``SettingsError`` when a setting is out of range, too loose, or against another."""
        for name, low, high in RANGES:
            _check_range(name, getattr(self, name), low, high)
        self._check_afe()
        if self.baudrate not in BAUDRATES:
            raise SettingsError(
                "baudrate %d is not usual (use one of %s)"
                % (self.baudrate, ", ".join([str(rate) for rate in BAUDRATES]))
            )
        # An answer must fit between two measurements, with time to spare for their work.
        shortest_ms = 2 * (ANSWER_BYTES * 11000 // self.baudrate)
        if self.period_ms < shortest_ms:
            raise SettingsError(
                "period_ms %d is too short for answers at baudrate %d (at least %d)"
                % (self.period_ms, self.baudrate, shortest_ms)
            )
        self._check_shunt()
        for name, low, high in self._hard_limits():
            value = getattr(self, name)
            if not low <= value <= high:
                above = value > high
                side, limit, way = ("above", high, "lower") if above else ("below", low, "raise")
                pack = "%d cells of %s, %d mAh" % (self.n_cells, self.profile.name, self.rated_mah)
                raise SettingsError(
                    "%s %d is %s %d, the limit of %s (%s it)"
                    % (name, value, side, limit, pack, way)
                )
        self._rising("cuv_mv", "cuv_release_mv", "cov_release_mv", "cov_mv")
        self._rising("cuv_release_mv", "balance_min_mv", "cov_mv")
        self._rising("utc_dc", "otc_dc")
        self._rising("utd_dc", "otd_dc")

    def bounds(self, name: str) -> "tuple[int, int]":
        """From where to where a setting may be in this pack, whatever the others are."""
        low, high = -_ANY, _ANY
        for known, least, most in RANGES + self._hard_limits():
            if known == name:
                low = max(low, least)
                high = min(high, most)
        if name in _CURRENTS:
            high = min(high, self._shunt_ma() - 1)
        return low, high

    def changed(self, values: "dict[str, int]") -> "Settings":
        """A checked copy, with ``values`` for what may be set over Modbus; ``SettingsError``."""
        made = Settings(self.serial, self.n_cells, self.profile.name, self.rated_mah)
        made.take(self)
        for name in REMOTE:
            if name in values:
                setattr(made, name, values[name])
        made.check()
        return made

    def take(self, other: "Settings") -> None:
        """Become what ``other`` is, of the same pack."""
        for name, _low, _high in RANGES:
            setattr(self, name, getattr(other, name))
        self.afe = other.afe
        self.chip_cells = other.chip_cells

    def _hard_limits(self) -> "tuple[tuple[str, int, int], ...]":
        """(name, lowest, highest) of what this pack bears: compiled in, whatever a file says."""
        c = self.profile
        return (
            ("cov_mv", 0, c.cell_max_mv),
            ("cov_release_mv", 0, c.cell_full_mv),
            ("cuv_mv", c.cell_min_mv, _ANY),
            ("occ_ma", 0, self.rated_mah * c.charge_c10 // 10),
            ("ocd_ma", 0, self.rated_mah * c.discharge_c10 // 10),
            ("otc_dc", -_ANY, c.charge_max_dc),
            ("utc_dc", c.charge_min_dc, _ANY),
            ("otd_dc", -_ANY, c.discharge_max_dc),
            ("utd_dc", c.discharge_min_dc, _ANY),
            ("otf_dc", 0, 1000),
            ("stack_tolerance_mv", 0, self._stack_mv()),
        )

    def _stack_mv(self) -> int:
        """What every cell's measurement may be off by together; more would hide a cell."""
        return 100 + 20 * self.n_cells

    def _check_afe(self) -> None:
        names = [each[0] for each in AFES]
        if self.afe not in names:
            raise SettingsError(
                "afe %r is not known (use one of %s)" % (self.afe, ", ".join(names))
            )
        most = AFES[names.index(self.afe)][1]
        if self.n_cells > most:
            raise SettingsError(
                "n_cells %d: a %s measures up to %d (a chain of ltc6813 more: set afe)"
                % (self.n_cells, self.afe, most)
            )
        self._check_chips()

    def _check_chips(self) -> None:
        chips = self.chip_cells
        if chips == ():
            return
        good = self.afe == "ltc6813" and isinstance(chips, tuple) and len(chips) <= _MOST_CHIPS
        for n in chips if good else ():
            good = good and isinstance(n, int) and _CHIP_LEAST <= n <= _CHIP_MOST
        if not good or sum(chips) != self.n_cells:
            raise SettingsError(
                "chip_cells %r: of ltc6813 alone, 1 to %d numbers of %d to %d that make n_cells "
                "%d (correct or remove it)"
                % (chips, _MOST_CHIPS, _CHIP_LEAST, _CHIP_MOST, self.n_cells)
            )

    def _shunt_ma(self) -> int:
        return SHUNT_FULL_SCALE_MV * 1000000 // self.shunt_uohm

    def _check_shunt(self) -> None:
        highest_ma = self._shunt_ma()
        for name in _CURRENTS:
            value = getattr(self, name)
            if value >= highest_ma:
                raise SettingsError(
                    "%s %d cannot be seen: shunt_uohm %d measures up to %d mA (lower one)"
                    % (name, value, self.shunt_uohm, highest_ma)
                )

    @property
    def bleed_dua_mv(self) -> int:
        """What the front end draws from a bled cell, in 0.1 uA for each of its mV."""
        return next(each[2] for each in AFES if each[0] == self.afe)

    @property
    def config_crc(self) -> int:
        """CRC-32 of every setting: what a client compares to see that nothing was changed."""
        text = "serial=%s\nprofile=%s\nafe=%s%r\n" % (
            self.serial, self.profile.name, self.afe, self.chip_cells,
        )  # fmt: skip
        for name, _low, _high in RANGES:
            text += "%s=%d\n" % (name, getattr(self, name))
        data = text.encode()
        return crc32(data, 0, len(data))

    def _rising(self, *names: str) -> None:
        for i in range(1, len(names)):
            low = getattr(self, names[i - 1])
            high = getattr(self, names[i])
            if low >= high:
                error = SettingsError(
                    "%s %d must be below %s %d (change one of them)"
                    % (names[i - 1], low, names[i], high)
                )
                error.names = (names[i - 1], names[i])
                raise error


def load(path: str) -> Settings:
    """The settings in the file ``path``; ``SettingsError`` names the file and what is wrong.

    Its ``rest`` are the settings with which the board may measure and say that something is
    wrong, but close no switch: all limits are the profile's. ``None`` when those are wrong too.
    """
    values = _read(path)
    try:
        return Settings.from_dict(values)
    except SettingsError as error:
        wrong = SettingsError("%s: %s" % (path, error))
    try:
        wrong.rest = Settings.from_dict({name: values[name] for name in _LEAST if name in values})
    except SettingsError:
        pass
    raise wrong


def _read(path: str) -> "dict[str, object]":
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except OSError as error:
        raise SettingsError("%s: cannot be read (%s)" % (path, error))  # noqa: B904
    except ValueError as error:
        raise SettingsError("%s: is not JSON (%s)" % (path, error))  # noqa: B904
    if not isinstance(values, dict):
        raise SettingsError("%s: must hold one JSON object" % path)
    return values


def _check_range(name: str, value: object, low: int, high: int) -> None:
    # MicroPython and CPython disagree on whether True is an int; here it never is
    if value is True or value is False or not isinstance(value, int):
        raise SettingsError("%s %r must be a whole number" % (name, value))
    if not low <= value <= high:
        raise SettingsError("%s %d is out of range (%d to %d)" % (name, value, low, high))
