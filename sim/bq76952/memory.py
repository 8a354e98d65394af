"""The data memory: addresses 0x9180-0x93FF, little-endian, with the values of a blank part.

A power-on or RESET brings the defaults back (nothing is programmed in the one-time memory).
What is listed here has its effect, but for ``NO_EFFECT``. What is not listed is not modelled: a
write to it, or a read that begins there, is an access to the unknown (``Bq76952.unknown``).
"""

import struct

START = 0x9180
END = 0x9400
BLOCK_BYTES = 32
_CONFIGURATION_START = 0x9234  # what precedes it is calibration, outside the signature

# name: (address, struct format, default)
ITEMS: dict[str, tuple[int, str, float]] = {
    "cc_gain": (0x91A8, "f", 7.5684),
    "capacity_gain": (0x91AC, "f", 7.5684 * 298261.6178),
    "cc_offset_samples": (0x91C6, "H", 64),
    "board_offset": (0x91C8, "h", 0),
    "internal_temperature_offset_dk": (0x91CA, "b", 0),
    "power_config": (0x9234, "H", 0x2982),
    "reg12_config": (0x9236, "B", 0x00),
    "reg0_config": (0x9237, "B", 0x00),
    "hwd_regulator_options": (0x9238, "B", 0x00),
    "comm_type": (0x9239, "B", 0x00),
    "i2c_address": (0x923A, "B", 0x00),
    "shutdown_stack_cv": (0x9241, "H", 600),
    "shutdown_temperature_c": (0x9244, "B", 85),
    "sleep_current_ma": (0x9248, "h", 20),
    "wake_current_ma": (0x924B, "h", 500),
    "protection_configuration": (0x925F, "H", 0x0002),
    "enabled_a": (0x9261, "B", 0x88),
    "enabled_b": (0x9262, "B", 0x00),
    "enabled_c": (0x9263, "B", 0x00),
    "chg_fet_a": (0x9265, "B", 0x98),
    "chg_fet_b": (0x9266, "B", 0xD5),
    "chg_fet_c": (0x9267, "B", 0x56),
    "dsg_fet_a": (0x9269, "B", 0xE4),
    "dsg_fet_b": (0x926A, "B", 0xE6),
    "dsg_fet_c": (0x926B, "B", 0xE2),
    "default_alarm_mask": (0x926D, "H", 0xF800),
    "body_diode_ma": (0x9273, "h", 50),
    "cuv_threshold": (0x9275, "B", 50),
    "cuv_delay": (0x9276, "H", 74),
    "cov_threshold": (0x9278, "B", 86),
    "cov_delay": (0x9279, "H", 74),
    "cuv_hysteresis": (0x927B, "B", 2),
    "cov_hysteresis": (0x927C, "B", 2),
    "covl_limit": (0x927D, "B", 0),
    "covl_decrement_s": (0x927E, "B", 10),
    "covl_recovery_s": (0x927F, "B", 15),
    "occ_threshold": (0x9280, "B", 2),
    "occ_delay": (0x9281, "B", 4),
    "ocd1_threshold": (0x9282, "B", 4),
    "ocd1_delay": (0x9283, "B", 1),
    "ocd2_threshold": (0x9284, "B", 3),
    "ocd2_delay": (0x9285, "B", 7),
    "scd_threshold": (0x9286, "B", 0),
    "scd_delay": (0x9287, "B", 2),
    "occ_recovery_ma": (0x9288, "h", -200),
    "ocd3_threshold": (0x928A, "h", -4000),
    "ocd3_delay_s": (0x928C, "B", 2),
    "ocd_recovery_ma": (0x928D, "h", 200),
    "ocdl_limit": (0x928F, "B", 0),
    "ocdl_decrement_s": (0x9290, "B", 10),
    "ocdl_recovery_s": (0x9291, "B", 15),
    "ocdl_recovery_ma": (0x9292, "h", 200),
    "scd_recovery_s": (0x9294, "B", 5),
    "scdl_limit": (0x9295, "B", 0),
    "scdl_decrement_s": (0x9296, "B", 10),
    "scdl_recovery_s": (0x9297, "B", 15),
    "scdl_recovery_ma": (0x9298, "h", 200),
    "recovery_time_s": (0x92AF, "B", 3),
    "occ_pack_tos_cv": (0x92B0, "h", 200),
    "hwd_delay_s": (0x92B2, "H", 60),
    "pto_current_ma": (0x92BA, "h", 250),
    "pto_delay_s": (0x92BC, "H", 1800),
    "pto_reset_ah": (0x92BE, "h", 2),
    "enabled_pf_a": (0x92C0, "B", 0x00),
    "enabled_pf_b": (0x92C1, "B", 0x00),
    "enabled_pf_c": (0x92C2, "B", 0x07),
    "enabled_pf_d": (0x92C3, "B", 0x00),
    "cudep_mv": (0x92C8, "h", 1500),
    "cudep_delay_s": (0x92CA, "B", 2),
    "suv_mv": (0x92CB, "h", 2200),
    "suv_delay_s": (0x92CD, "B", 5),
    "sov_mv": (0x92CE, "h", 4500),
    "sov_delay_s": (0x92D0, "B", 5),
    "tos_mv": (0x92D1, "h", 500),
    "tos_delay_s": (0x92D3, "B", 5),
    "socc_usera": (0x92D4, "h", 10000),
    "socc_delay_s": (0x92D6, "B", 5),
    "socd_usera": (0x92D7, "h", -32000),
    "socd_delay_s": (0x92D9, "B", 5),
    "sot_c": (0x92DA, "b", 65),
    "sot_delay_s": (0x92DB, "B", 5),
    "sotf_c": (0x92DC, "B", 85),
    "sotf_delay_s": (0x92DD, "B", 5),
    "vimr_check_mv": (0x92DE, "h", 3500),
    "vimr_relax_ma": (0x92E0, "h", 10),
    "vimr_mv": (0x92E2, "h", 500),
    "vimr_delay_s": (0x92E4, "B", 5),
    "vimr_relax_s": (0x92E5, "H", 100),
    "vima_check_mv": (0x92E7, "h", 3700),
    "vima_active_ma": (0x92E9, "h", 50),
    "vima_mv": (0x92EB, "h", 200),
    "vima_delay_s": (0x92ED, "B", 5),
    "cfetf_ma": (0x92EE, "h", 20),
    "cfetf_delay_s": (0x92F0, "B", 5),
    "dfetf_ma": (0x92F1, "h", -20),
    "dfetf_delay_s": (0x92F3, "B", 5),
    "da_configuration": (0x9303, "B", 0x05),
    "vcell_mode": (0x9304, "H", 0x0000),
    "cc3_samples": (0x9307, "B", 80),
    "fet_options": (0x9308, "B", 0x0D),
    "pdsg_timeout": (0x930E, "B", 5),
    "pdsg_stop_delta": (0x930F, "B", 50),
    "dsg_current_threshold": (0x9310, "h", 100),
    "chg_current_threshold": (0x9312, "h", 50),
    "open_wire_interval_s": (0x9314, "B", 5),
    "balancing_configuration": (0x9335, "B", 0x00),
    "balance_min_cell_c": (0x9336, "b", -20),
    "balance_max_cell_c": (0x9337, "b", 60),
    "balance_max_die_c": (0x9338, "b", 70),
    "balance_interval_s": (0x9339, "B", 20),
    "balance_max_cells": (0x933A, "B", 1),
    "balance_chg_min_mv": (0x933B, "h", 3900),
    "balance_chg_start_mv": (0x933D, "B", 40),
    "balance_chg_stop_mv": (0x933E, "B", 20),
    "balance_rlx_min_mv": (0x933F, "h", 3900),
    "balance_rlx_start_mv": (0x9341, "B", 40),
    "balance_rlx_stop_mv": (0x9342, "B", 20),
    "mfg_status_init": (0x9343, "H", 0x0040),
}
# Threshold C (I1), delay s (U1), recovery C (I1), one after the other.
_TEMPERATURES = {
    "otc": (0x929A, 55, 2, 50),
    "otd": (0x929D, 60, 2, 55),
    "otf": (0x92A0, 80, 2, 65),
    "otint": (0x92A3, 85, 2, 80),
    "utc": (0x92A6, 0, 2, 5),
    "utd": (0x92A9, 0, 2, 5),
    "utint": (0x92AC, -20, 2, -15),
}
for _name, (_address, _threshold, _delay, _recovery) in _TEMPERATURES.items():
    _form = "B" if _name == "otf" else "b"
    ITEMS[_name + "_threshold_c"] = (_address, _form, _threshold)
    ITEMS[_name + "_delay_s"] = (_address + 1, "B", _delay)
    ITEMS[_name + "_recovery_c"] = (_address + 2, _form, _recovery)

NO_EFFECT = frozenset(  # of what is not modelled: autonomous balancing, precharge, shutdown
    (
        "shutdown_stack_cv",
        "shutdown_temperature_c",
        "pto_current_ma",
        "pto_delay_s",
        "pto_reset_ah",
        "pdsg_timeout",
        "pdsg_stop_delta",
        "dsg_current_threshold",
        "chg_current_threshold",
        "balance_chg_min_mv",
        "balance_chg_start_mv",
        "balance_chg_stop_mv",
        "balance_rlx_min_mv",
        "balance_rlx_start_mv",
        "balance_rlx_stop_mv",
    )
)

PIN_NAMES = ("CFETOFF", "DFETOFF", "ALERT", "TS1", "TS2", "TS3", "HDQ", "DCHG", "DDSG")
PIN_CONFIGURATIONS = 0x92FA
CELL_GAINS = 0x9180


_MODELLED = frozenset(
    at
    for start, size in (
        *((address, struct.calcsize(form)) for address, form, _ in ITEMS.values()),
        (PIN_CONFIGURATIONS, len(PIN_NAMES)),
        (CELL_GAINS, 32),
    )
    for at in range(start, start + size)
)


class DataMemory:
    """640 bytes of settings with named, typed access."""

    def __init__(self, crc: bool) -> None:
        self._crc = crc
        self.raw = bytearray(END - START)
        self.restore_defaults()

    def restore_defaults(self) -> None:
        """Load the values of a blank part (those of the CRC variant if it was built as one)."""
        self.raw[:] = bytes(END - START)
        for name, (_, _, default) in ITEMS.items():
            self.set(name, default)
        self.raw[PIN_CONFIGURATIONS + PIN_NAMES.index("TS1") - START] = 0x07
        if self._crc:
            self.set("comm_type", 0x12)

    def set(self, name: str, value: float) -> None:
        """Write one item by name (defaults and tests; the host comes through ``write``)."""
        address, form, _ = ITEMS[name]
        struct.pack_into("<" + form, self.raw, address - START, value)

    def integer(self, name: str) -> int:
        """One integer item by name, in the unit its name bears or raw."""
        address, form, _ = ITEMS[name]
        value: int = struct.unpack_from("<" + form, self.raw, address - START)[0]
        return value

    def real(self, name: str) -> float:
        """One float32 item by name."""
        address, form, _ = ITEMS[name]
        value: float = struct.unpack_from("<" + form, self.raw, address - START)[0]
        return value

    def pin_configurations(self) -> bytes:
        """The nine pin configuration bytes, in the order of ``PIN_NAMES``."""
        at = PIN_CONFIGURATIONS - START
        return bytes(self.raw[at : at + len(PIN_NAMES)])

    def cell_gains(self) -> tuple[int, ...]:
        """The sixteen cell gains; 0 = the factory's trim is used."""
        return struct.unpack_from("<16h", self.raw, CELL_GAINS - START)

    def flip(self, address: int, bit: int) -> None:
        """Turn one bit over."""
        self.raw[address - START] ^= 1 << bit

    def block(self, address: int) -> bytes:
        """The 32 bytes from ``address`` on, zeros past the end."""
        at = address - START
        return bytes(self.raw[at : at + BLOCK_BYTES]).ljust(BLOCK_BYTES, b"\0")

    def write(self, address: int, data: bytes) -> bool:
        """Write ``data``; False, and nothing written, where it would leave the window."""
        at = address - START
        if at < 0 or at + len(data) > len(self.raw):
            return False
        self.raw[at : at + len(data)] = data
        return True

    def unmodelled(self, address: int, count: int = 1) -> int | None:
        """The first of ``count`` addresses that is no part of an item, a pin or a cell gain."""
        for at in range(max(address, START), min(address + count, END)):
            if at not in _MODELLED:
                return at
        return None

    def signature(self) -> int:
        """A 15-bit signature of the settings; it changes with them, but is not TI's algorithm."""
        signature = 0x7FFF
        for byte in self.raw[_CONFIGURATION_START - START :]:
            signature = (signature * 31 + byte) & 0x7FFF
        return signature
