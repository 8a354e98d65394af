"""The chip's side of the bus: pointer, auto-increment, CRC, which registers may be written."""

import struct
from typing import TYPE_CHECKING

from . import registers as reg
from .bus import BYTE_US, START_STOP_US, data_of_write, frame_of_read
from .faults import Nack
from .subcommands import SubcommandPort

if TYPE_CHECKING:
    from .chip import Bq76952

_CRC_MODES = frozenset((0x11, 0x12))
_UNDEFINED = bytes(1 if at in reg.UNDEFINED else 0 for at in range(reg.REGISTER_COUNT))


class HostPort:
    """One transaction at a time on the register file of ``chip``."""

    def __init__(self, chip: "Bq76952", address: int) -> None:
        self._chip = chip
        self._default_address = address
        self.subcommands = SubcommandPort(chip)
        self.last_bus_us = 0.0
        self.reset()

    def reset(self) -> None:
        """Power-on: mode and address of the part, pointer 0, no subcommand."""
        self.address = self._default_address
        self.crc = self._chip.memory.integer("comm_type") in _CRC_MODES
        self._pointer = 0
        self._control_echo = False
        self._sda_low = False
        self.subcommands.reset()

    def swap_mode(self) -> None:
        """SWAP_COMM_MODE: CRC and address from the data memory."""
        memory = self._chip.memory
        self.crc = memory.integer("comm_type") in _CRC_MODES
        self.address = memory.integer("i2c_address") >> 1 or self._default_address

    def clock_bus(self) -> None:
        """Nine clocks and a stop: the chip shifts out the rest of its byte and lets go of SDA."""
        self.last_bus_us = START_STOP_US + BYTE_US
        self._chip.now_us += self.last_bus_us
        if not self._chip.faults.sda_stuck:
            self._sda_low = False

    def transact(self, address: int, write: bytes, n_read: int) -> bytes:
        """See ``Bq76952.i2c``."""
        chip = self._chip
        busy_us = START_STOP_US + BYTE_US * (1 + len(write) + (1 + n_read if n_read else 0))
        chip.now_us += busy_us
        self.last_bus_us = busy_us
        if address != self.address:
            raise Nack(f"no device at 0x{address:02X}")
        if self.subcommands.busy:
            self.subcommands.advance()
        if not chip.powered:
            raise Nack(f"0x{address:02X} is without power or starting")
        if chip.faults.hold_sda_next > 0:
            chip.faults.hold_sda_next -= 1
            self._sda_low = True
        if self._sda_low or chip.faults.sda_stuck:
            raise Nack("SDA is held low")
        if chip.faults.nack_next > 0:
            chip.faults.nack_next -= 1
            raise Nack(f"0x{address:02X} injected")
        register: int | None = None
        if write:
            register = self._pointer = write[0]
            if len(write) > 1:
                self._write(address, write)
        chip.protections.heard_host()
        return self._read(address, register, n_read) if n_read else b""

    def _write(self, address: int, write: bytes) -> None:
        register = write[0]
        data, good = data_of_write(address, write) if self.crc else (write[1:], True)
        if data:
            self._store(register, data)
            self._pointer = register + len(data)
        if not good:
            self._chip.rejected.crc += 1
            raise Nack(f"CRC wrong after {len(data)} good bytes from register 0x{register:02X}")

    def _store(self, register: int, data: bytes) -> None:
        end = register + len(data)
        first, last = reg.SUBCOMMAND_LOW, reg.LENGTH + 1
        if register == reg.CONTROL_STATUS and len(data) == 2:
            self._free_subcommands()
            self._control_echo = True
            self.subcommands.write(first, data)
            return
        if register < last and end > first:
            self._free_subcommands()
            start, stop = max(register, first), min(end, last)
            self.subcommands.write(start, data[start - register : stop - register])
        for at, byte in enumerate(data, register):
            if first <= at < last:
                continue
            if reg.ALARM_STATUS <= at < reg.ALARM_STATUS + 2:
                self._chip.alarm.write_status(byte, 8 * (at - reg.ALARM_STATUS))
            elif reg.ALARM_ENABLE <= at < reg.ALARM_ENABLE + 2:
                self._chip.alarm.write_enable(byte, 8 * (at - reg.ALARM_ENABLE))
            else:
                self._chip.rejected.read_only += 1

    def _free_subcommands(self) -> None:
        """Stretch the clock until the subcommand under way has ended."""
        self.subcommands.give_up()
        if not self.subcommands.busy:
            return
        chip = self._chip
        if chip.faults.stuck_busy:
            raise Nack("a subcommand never ended: the clock was held too long")
        wait_us = max(0.0, self.subcommands.done_us - chip.now_us)
        chip.now_us += wait_us
        self.last_bus_us += wait_us
        self.subcommands.advance()
        if not chip.powered:  # it was a RESET or a SHUTDOWN
            raise Nack("the chip went away during the transaction")

    def _read(self, address: int, register: int | None, n_read: int) -> bytes:
        chip = self._chip
        start = self._pointer
        count = (n_read + 1) // 2 if self.crc else n_read
        end = start + count
        if start < reg.SUBCOMMAND_LOW or end > reg.ALARM_STATUS:
            self._refresh(start, end)
        # A block that begins at something may pass over gaps: that is no mistake of the host.
        if _UNDEFINED.find(1, start, start + 1) >= 0 or end > reg.REGISTER_COUNT:
            for at in range(start, end):
                if at >= reg.REGISTER_COUNT or _UNDEFINED[at]:
                    chip.unknown("register", at)
        data = bytes(chip.file[start:end])
        if len(data) < count:
            data = data.ljust(count, b"\0")
        if self._control_echo and start == reg.CONTROL_STATUS:
            self._control_echo = False
            data = b"\xa5\xff"[:count] + data[2:]
        self._pointer = end
        if self.crc:
            data = frame_of_read(address, register, data)[:n_read]
        if chip.faults.corrupt_crc_next > 0:
            chip.faults.corrupt_crc_next -= 1
            at = 1 if self.crc and n_read > 1 else 0
            data = data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :]
        return data

    def _refresh(self, start: int, end: int) -> None:
        chip = self._chip
        if (start < reg.CC2_CURRENT and end > reg.CELL_1_VOLTAGE) or (
            end > reg.INTERNAL_TEMPERATURE
        ):
            chip.refresh()
        if start < reg.CELL_1_VOLTAGE or end > reg.ALARM_STATUS:
            self._refresh_status()

    def _refresh_status(self) -> None:
        chip = self._chip
        file, p, alarm, fets = chip.file, chip.protections, chip.alarm, chip.fets
        for at in range(3):
            file[reg.SAFETY_ALERT_A + 2 * at] = p.alert[at]
            file[reg.SAFETY_STATUS_A + 2 * at] = p.status[at]
        for at in range(4):
            file[reg.PF_ALERT_A + 2 * at] = chip.permanent.alert[at]
            file[reg.PF_STATUS_A + 2 * at] = chip.permanent.status[at]
        struct.pack_into("<H", file, reg.BATTERY_STATUS, chip.battery_status())
        struct.pack_into("<3H", file, reg.ALARM_STATUS, alarm.status, alarm.raw, alarm.enable)
        fet = reg.FS_CHG if fets.charge_gate else 0
        fet |= reg.FS_DSG if fets.discharge_gate else 0
        fet |= reg.FS_PDSG if fets.predischarge else 0
        file[reg.FET_STATUS] = fet | (reg.FS_ALERT_PIN if alarm.status else 0)
