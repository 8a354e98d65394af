"""Brings a BQ76952 into the state that is planned for it, and says when it is no longer in it.

CONFIG_UPDATE opens the FETs and stops the measurement, so it is entered once, for all settings.
What stands already is not written again; what was written is read back and compared. Afterwards
three things are noted that a reading can compare cheaply: the chip's own signature of its
settings, the two gains (calibration, which the signature leaves out), and whether the chip still
controls its FETs and looks for permanent failures.

    >>> setup = Setup(bus, crc=True)
    >>> setup.run(plan)
    >>> setup.kept()  # one of the three, the next one at the next call
    True

Source: TI SLUUBY2B chapters 3 and 13.1; STATIC_CFG_SIG in its table of subcommands.
"""

import struct

from common.crc import crc32
from common.mp import const
from firmware.afe import AfeError, AfeSettingsError
from firmware.afe import bq76952_registers as reg
from firmware.afe.bq76952_bus import Bq76952Bus
from firmware.afe.bq76952_plan import Plan

_PASSES = const(3)  # of writing and reading back the settings
_POLLS = const(50)  # of a mode change, 1 ms apart
_TOGGLES = const(3)
_DATA = const(2)  # where a subcommand's answer begins in the bus buffer
_GAINS_BYTES = const(8)
WATCHED = const(3)  # things noted: signature, gains, manufacturing status


class Setup:
    """The way into and out of CONFIG_UPDATE. ``crc`` is what the chip is to speak."""

    def __init__(self, bus: Bq76952Bus, crc: bool) -> None:
        self._bus = bus
        self._crc = crc
        self._watched: "list[tuple[int, bytes]]" = []  # question, answer as long as all is kept
        self._next = 0

    def run(self, plan: Plan) -> int:
        """Make the chip as planned; the CRC-32 of all that was read back.

        ``AfeSettingsError`` when it is another chip, is sealed, or does not keep a setting;
        ``AfeError`` when it does not answer. The FETs are off afterwards in every case.
        """
        bus = self._bus
        bus.detect_crc()
        bus.command_at_once(reg.ALL_FETS_OFF)
        self._check_device()
        self._enter_config_update()
        image = self._write_settings(plan)
        self._leave_config_update()
        bus.command(reg.ALL_FETS_OFF)  # before the FETs are enabled: they must not close here
        self._enable_fet_control()
        self._watched = [
            self._note(reg.STATIC_CFG_SIG, 2),
            self._note(reg.CC_GAIN[1], _GAINS_BYTES),
            self._note(reg.MFG_STATUS, 2),
        ]
        self._next = 0
        return crc32(image, 0, len(image))

    def kept(self) -> bool:
        """Whether the next of the things noted is as it was; ``AfeError`` when nobody knows."""
        code, wanted = self._watched[self._next]
        n = self._bus.ask(code)
        if n < len(wanted):
            raise AfeError("BQ76952: subcommand 0x%04X: answer of %d bytes" % (code, n))
        data = self._bus.data
        same = True
        for i in range(len(wanted)):
            if data[_DATA + i] != wanted[i]:
                same = False
        self._next += 1
        if self._next == len(self._watched):
            self._next = 0
        return same

    def _note(self, code: int, n: int) -> "tuple[int, bytes]":
        if self._bus.ask(code) < n:
            raise AfeError("BQ76952: subcommand 0x%04X: answer too short" % code)
        return code, bytes(self._bus.data[_DATA : _DATA + n])

    def _check_device(self) -> None:
        number = self._word(self._bus.ask(reg.DEVICE_NUMBER))
        if number not in reg.DEVICES:
            raise AfeSettingsError(
                "BQ76952: device number 0x%04X is not 0x%04X: another chip is fitted"
                % (number, reg.DEVICES[0])
            )
        for _ in range(_POLLS):
            security = self._battery_status() >> reg.SECURITY_SHIFT & 3
            if security == reg.SEALED:
                raise AfeSettingsError(
                    "BQ76952: the chip is sealed: unseal it to let it be configured"
                )
            if security:
                return
            self._bus.sleep(1)
        raise AfeError("BQ76952: not ready %d ms after its start: reset the chip" % _POLLS)

    def _enter_config_update(self) -> None:
        for _ in range(_PASSES):
            self._bus.command(reg.SET_CFGUPDATE)
            if self._reaches(reg.CFGUPDATE, reg.CFGUPDATE):
                return
        raise AfeError("BQ76952: CONFIG_UPDATE refused: reset the chip")

    def _leave_config_update(self) -> None:
        bus = self._bus
        bus.command(reg.EXIT_CFGUPDATE)
        bus.sleep(2)
        bus.detect_crc()
        if self._crc and not bus.crc:  # Comm Type is set, but waits to be put into force
            bus.command(reg.SWAP_COMM_MODE, 1)
            bus.sleep(2)
            bus.detect_crc()
            if not bus.crc:
                raise AfeError(
                    "BQ76952: still without CRC after Comm Type was set: check the part"
                )
        for _ in range(_PASSES):
            if self._reaches(reg.CFGUPDATE | reg.POR | reg.WD, 0):
                return
            bus.command(reg.EXIT_CFGUPDATE)
        raise AfeError("BQ76952: CONFIG_UPDATE does not end: reset the chip")

    def _reaches(self, mask: int, wanted: int) -> bool:
        """Whether the Battery Status gets there in time."""
        for _ in range(_POLLS):
            if self._battery_status() & mask == wanted:
                return True
            self._bus.sleep(1)
        return False

    def _write_settings(self, plan: Plan) -> bytes:
        """Write what differs until nothing does; return all values as read back."""
        blocks = plan.blocks()
        for left in range(_PASSES, -1, -1):
            wrong = []
            for address, wanted in blocks:
                found = self._note(address, len(wanted))[1]
                if found != wanted:
                    wrong.append((address, wanted, found))
            if not wrong:
                return b"".join([wanted for _address, wanted in blocks])
            if left:
                for address, wanted, _found in wrong:
                    self._bus.send(address, wanted, len(wanted))
        address, wanted, found = wrong[0]
        at = 0
        while wanted[at] == found[at]:
            at += 1
        register = plan.at(address + at)
        code = "<" + register[2]
        raise AfeSettingsError(
            "BQ76952: %s (0x%04X): wrote %s, read %s: the chip does not keep its settings"
            % (
                register[0],
                register[1],
                struct.unpack_from(code, wanted, register[1] - address)[0],
                struct.unpack_from(code, found, register[1] - address)[0],
            )
        )

    def _enable_fet_control(self) -> None:
        """FET_EN and PF_EN on. The commands toggle: each is preceded by a look."""
        wanted = reg.FET_EN | reg.PF_EN
        for _ in range(_TOGGLES):
            off = wanted & ~self._word(self._bus.ask(reg.MFG_STATUS))
            if not off:
                return
            try:
                self._bus.command(reg.FET_ENABLE if off & reg.FET_EN else reg.PF_ENABLE, 1)
            except AfeError:  # it may have been taken nevertheless: look again
                continue
        if wanted & ~self._word(self._bus.ask(reg.MFG_STATUS)):
            raise AfeError("BQ76952: the chip does not take over its FETs: reset the chip")

    def _battery_status(self) -> int:
        self._bus.read(reg.BATTERY_STATUS, 2)
        return self._bus.data[0] | self._bus.data[1] << 8

    def _word(self, n: int) -> int:
        if n < 2:
            raise AfeError("BQ76952: answer of %d bytes where 2 are expected" % n)
        return self._bus.data[_DATA] | self._bus.data[_DATA + 1] << 8
