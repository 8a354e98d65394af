"""A bare host for the emulator's tests, written from TI's application note."""

from sim.bq76952 import Bq76952

ADDRESS = 0x08


def crc8_bitwise(data: bytes) -> int:
    crc = 0
    for byte in data:
        for bit in range(7, -1, -1):
            feedback = (crc >> 7) ^ (byte >> bit & 1)
            crc = (crc << 1) & 0xFF
            if feedback:
                crc ^= 0x07
    return crc


class Host:
    """Reads and writes registers, with or without CRC, as the chip was built."""

    def __init__(self, chip: Bq76952, crc: bool = True) -> None:
        self.chip = chip
        self.crc = crc

    def framed(self, register: int, data: bytes) -> bytes:
        if not self.crc:
            return bytes((register,)) + data
        frame = bytearray((register,))
        for position, byte in enumerate(data):
            covered = bytes((0x10, register, byte)) if position == 0 else bytes((byte,))
            frame += bytes((byte, crc8_bitwise(covered)))
        return bytes(frame)

    def write(self, register: int, *data: int) -> None:
        self.chip.i2c(ADDRESS, self.framed(register, bytes(data)), 0)

    def read(self, register: int, count: int) -> bytes:
        if not self.crc:
            return self.chip.i2c(ADDRESS, bytes((register,)), count)
        frame = self.chip.i2c(ADDRESS, bytes((register,)), 2 * count)
        assert len(frame) == 2 * count
        data = frame[0::2]
        assert frame[1] == crc8_bitwise(bytes((0x10, register, 0x11, data[0])))
        assert all(frame[2 * i + 1] == crc8_bitwise(data[i : i + 1]) for i in range(1, count))
        return data

    def word(self, register: int, signed: bool = False) -> int:
        return int.from_bytes(self.read(register, 2), "little", signed=signed)

    def wait_ready(self, command: int) -> None:
        for _ in range(200):
            if self.word(0x3E) == command:
                return
        raise AssertionError(f"0x{command:04X} never came back")

    def command(self, command: int) -> None:
        self.write(0x3E, command & 0xFF, command >> 8)
        self.wait_ready(command)

    def ask(self, command: int) -> bytes:
        self.command(command)
        length = self.read(0x61, 1)[0]
        data = self.read(0x40, length - 4)
        assert self.read(0x60, 1)[0] == ~((command & 0xFF) + (command >> 8) + sum(data)) & 0xFF
        return data

    def send(self, command: int, data: bytes) -> None:
        low, high = command & 0xFF, command >> 8
        self.write(0x3E, low, high, *data)
        self.write(0x60, ~(low + high + sum(data)) & 0xFF, len(data) + 4)
        self.wait_ready(command)

    def enter_config(self) -> None:
        self.command(0x0090)
        assert self.word(0x12) & 1

    def exit_config(self) -> None:
        self.command(0x0092)
        assert not self.word(0x12) & 1

    def configure(self, *settings: tuple[int, bytes]) -> None:
        self.enter_config()
        for address, data in settings:
            self.send(address, data)
        self.exit_config()


def u8(value: int) -> bytes:
    return value.to_bytes(1, "little", signed=value < 0)


def u16(value: int) -> bytes:
    return value.to_bytes(2, "little", signed=value < 0)


class World:
    """A chip with quiet, exact analogue parts, its host, and a world to step."""

    def __init__(self, n_cells: int = 16, crc: bool = True, **options: float) -> None:
        exact = {"shunt_uohm": 1000.0, "noise_mv": 0.0, "current_offset_ma": 0.0}
        exact |= {"current_gain": 1.0, **options}
        self.chip = Bq76952(n_cells, seed=5, crc=crc, cell_offset_mv=[0.0] * n_cells, **exact)
        self.host = Host(self.chip, crc)
        self.cells = [3.7] * n_cells
        self.current_a = 0.0
        self.temperatures_c = [25.0, 25.0, 25.0]
        self.die_c = self.fet_c = 30.0
        self.pack_v: float | None = None

    def run(self, seconds: float, dt_s: float = 0.25) -> None:
        for _ in range(max(1, round(seconds / dt_s))):
            self.chip.step(
                dt_s,
                self.cells,
                self.current_a,
                self.temperatures_c,
                self.die_c,
                self.fet_c,
                self.pack_v,
            )

    def fets_on(self) -> None:
        """Firmware FET control, no sleep."""
        self.host.configure((0x9234, u16(0x2882)))
        self.host.command(0x0022)
        self.run(0.25)
