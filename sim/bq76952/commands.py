"""What each subcommand does or answers. Functions take the chip and return the data, or None."""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import registers as reg

if TYPE_CHECKING:
    from .chip import Bq76952

# The next four are recollection or invention, not confirmed by TI: do not depend on their values.
DEVICE_NUMBER = 0x7695
FIRMWARE_VERSION = bytes((0x76, 0x95, 0x00, 0x36, 0x00, 0x34))  # three big-endian words
HARDWARE_VERSION = bytes((0x00, 0x00))
IROM_SIGNATURE = 0x7A6C
_VOLTAGE_COUNT_MV = 5 * 1212.0 / (1 << 23)
_KEYS_UNSEAL, _KEYS_FULL = (0x0414, 0x3672), (0xFFFF, 0xFFFF)
NEEDS_UNSEALED = frozenset(
    (0x0012, 0x001C, 0x001D, 0x001E, 0x001F, 0x0020, 0x0022, 0x0024, 0x0030, 0x0090)
)

Handler = Callable[["Bq76952"], bytes | None]


def _clamp16(value: float) -> int:
    return max(-32768, min(32767, round(value)))


def _static_signature(chip: "Bq76952") -> bytes:
    # Nothing is programmed in the one-time memory, so the stored signature is 0 and differs.
    return struct.pack("<H", 0x8000 | chip.memory.signature())


def _cell_counts(first: int) -> Handler:
    def answer(chip: "Bq76952") -> bytes:
        chip.refresh()
        words: list[int] = []
        for mv in chip.measurement.cells_mv[first : first + 4]:
            words += (round(mv / _VOLTAGE_COUNT_MV), chip.coulomb.counts)
        return struct.pack("<8i", *words)

    return answer


def _da_status_5(chip: "Bq76952") -> bytes:
    chip.refresh()
    m, coulomb = chip.measurement, chip.coulomb
    cells = [mv for at, mv in enumerate(m.cells_mv) if m.enabled_inputs >> at & 1]
    vreg18 = round(1.8 / 5 / 1.212 * 32768)
    return struct.pack(
        "<hhhhhHHHHHhhii",
        vreg18,
        0,
        max(cells, default=0),
        min(cells, default=0),
        _clamp16(sum(cells) / 10),
        m.decikelvin(m.cell_avg_c),
        m.decikelvin(m.fet_c),
        m.decikelvin(m.cell_max_c),
        m.decikelvin(m.cell_min_c),
        m.decikelvin(m.cell_avg_c),
        coulomb.user_a(coulomb.cc3_counts),
        coulomb.user_a(coulomb.cc1_counts),
        coulomb.counts,
        round(coulomb.cc3_counts),
    )


def _da_status_6(chip: "Bq76952") -> bytes:
    coulomb = chip.coulomb
    whole = max(-(1 << 31), min((1 << 31) - 1, coulomb.passq >> 32))
    charge = struct.pack(
        "<iII", whole, coulomb.passq & 0xFFFFFFFF, int(coulomb.time_s) & 0xFFFFFFFF
    )
    return charge + bytes(20)  # raw counts of five pins: not modelled, read as 0


def _balance_seconds(first: int) -> Handler:
    def answer(chip: "Bq76952") -> bytes:
        return struct.pack("<8I", *(int(s) for s in chip.balancing.seconds[first : first + 8]))

    return answer


def _do(action: Callable[["Bq76952"], object]) -> Handler:
    def run(chip: "Bq76952") -> None:
        action(chip)

    return run


def _toggle(bit: int) -> Handler:
    return _do(lambda chip: chip.fets.toggle(bit))


def _host_off(bits: int, *, keep: bool) -> Handler:
    def run(chip: "Bq76952") -> None:
        if not chip.fets.host(bits | (chip.fets.host_off if keep else 0)):
            chip.rejected.host_control_disabled += 1

    return run


def _seal(level: int) -> Handler:
    return _do(lambda chip: setattr(chip, "security", level))


_DSG_BITS = reg.FC_DSG_OFF | reg.FC_PDSG_OFF
_CHG_BITS = reg.FC_CHG_OFF | reg.FC_PCHG_OFF

HANDLERS: dict[int, Handler] = {
    0x0001: lambda _: struct.pack("<H", DEVICE_NUMBER),
    0x0002: lambda _: FIRMWARE_VERSION,
    0x0003: lambda _: HARDWARE_VERSION,
    0x0004: lambda _: struct.pack("<H", IROM_SIGNATURE),
    0x0005: _static_signature,
    0x000E: _do(lambda chip: chip.deep_sleep(enter=False)),
    0x000F: _do(lambda chip: chip.twice(0x000F, lambda: chip.deep_sleep(enter=True))),
    0x0010: _do(lambda chip: chip.twice(0x0010, chip.shut_down)),
    0x0012: _do(lambda chip: chip.power_on_reset()),
    0x001F: _toggle(reg.MS_CHG_TEST),
    0x0020: _toggle(reg.MS_DSG_TEST),
    0x0022: _toggle(reg.MS_FET_EN),
    0x0024: _toggle(reg.MS_PF_EN),
    0x0030: _seal(reg.SEALED),
    0x0057: lambda chip: struct.pack("<H", chip.fets.manufacturing),
    0x0070: lambda chip: bytes(chip.manufacturer_data),
    0x0071: _cell_counts(0),
    0x0072: _cell_counts(4),
    0x0073: _cell_counts(8),
    0x0074: _cell_counts(12),
    0x0075: _da_status_5,
    0x0076: _da_status_6,
    0x0080: lambda chip: struct.pack("<16h", *chip.cuv_snapshot),
    0x0081: lambda chip: struct.pack("<16h", *chip.cov_snapshot),
    0x0082: _do(lambda chip: chip.coulomb.reset_charge()),
    0x0083: lambda chip: struct.pack("<H", chip.balancing.active),
    0x0084: lambda chip: struct.pack("<H", chip.balancing.level_mv),
    0x0085: lambda chip: struct.pack("<H", min(65535, int(chip.balancing.since_s))),
    0x0086: _balance_seconds(0),
    0x0087: _balance_seconds(8),
    0x0090: _do(lambda chip: chip.enter_config_update()),
    0x0092: _do(lambda chip: chip.exit_config_update()),
    0x0093: _host_off(_DSG_BITS, keep=True),
    0x0094: _host_off(_CHG_BITS, keep=True),
    0x0095: _host_off(_DSG_BITS | _CHG_BITS, keep=False),
    0x0096: _host_off(0, keep=False),
    0x0097: lambda chip: bytes((chip.fets.host_off,)),
    0x0099: _do(lambda chip: chip.sleep.allow(allowed=True)),
    0x009A: _do(lambda chip: chip.sleep.allow(allowed=False)),
    0x009B: _do(lambda chip: chip.protections.ocdl.recover()),
    0x009C: _do(lambda chip: chip.protections.scdl.recover()),
    # Precharge is not modelled and load detection is off by default: nothing to recover or detect.
    0x008A: lambda _: None,
    0x009D: lambda _: None,
    0x009E: lambda _: None,
    0x009F: lambda _: None,
    0x29BC: _do(lambda chip: chip.swap_comm_mode()),
}


def unlock(chip: "Bq76952", word: int) -> bool:
    """Follow the two-word keys; True when ``word`` is part of one that matters now."""
    keys = _KEYS_UNSEAL if chip.security == reg.SEALED else _KEYS_FULL
    if chip.security == reg.FULL_ACCESS or word not in keys:
        chip.key_words = 0
        return False
    if word == keys[chip.key_words]:
        chip.key_words += 1
        if chip.key_words == len(keys):
            chip.security -= 1
            chip.key_words = 0
    else:
        chip.key_words = 0
    return True


def take_data(chip: "Bq76952", command: int, data: bytes) -> bool:
    """A subcommand with data whose checksum and length were right; False: there is none such."""
    if command == 0x0070:
        chip.manufacturer_data[: len(data)] = data
    elif command in {0x0083, 0x0084}:
        if len(data) < 2:
            chip.rejected.length += 1
        elif not chip.balancing.commands_allowed:
            chip.rejected.host_control_disabled += 1
        elif command == 0x0083:
            chip.balancing.command(data[0] | data[1] << 8, chip.measurement)
        else:
            chip.balancing.command_level(data[0] | data[1] << 8, chip.measurement)
    elif command == 0x0097:
        if not chip.fets.host(data[0]):
            chip.rejected.host_control_disabled += 1
    elif command == 0x0098:
        chip.memory.set("reg12_config", data[0])
    else:
        return False
    return True
