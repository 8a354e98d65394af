"""A host that talks to the emulated chain byte by byte, with a PEC of its own."""

from sim.ltc6813 import FrontEnd

WRCFGA, RDCFGA, WRCFGB, RDCFGB = 0x001, 0x002, 0x024, 0x026
RDCV = (0x004, 0x006, 0x008, 0x00A, 0x009, 0x00B)
RDAUX = (0x00C, 0x00E, 0x00D, 0x00F)
RDSTATA, RDSTATB = 0x010, 0x012
WRPWM, RDPWM, WRCOMM, RDCOMM = 0x020, 0x022, 0x721, 0x722
ADCV, ADCV_FAST, ADCV_26HZ, PERMIT = 0x360, 0x2E0, 0x3E0, 0x010
ADOW_UP, ADOW_DOWN = 0x368, 0x328
ADAX, ADSTAT = 0x560, 0x568
CLRCELL, CLRAUX, CLRSTAT, PLADC, DIAGN = 0x711, 0x712, 0x713, 0x714, 0x715
MUTE, UNMUTE = 0x028, 0x029
REFON = bytes((0xFC, 0, 0, 0, 0, 0))


def pec_bits(data: bytes) -> bytes:
    """PEC15 bit by bit, as the datasheet draws its shift register."""
    register = [bit == "1" for bit in "000000000010000"]  # bit 14 first
    for byte in data:
        for k in range(7, -1, -1):
            feed = bool(byte >> k & 1) ^ register[0]
            register = [*register[1:], feed]
            for tap in (14, 10, 8, 7, 4, 3):
                register[14 - tap] ^= feed
    value = sum(bit << (14 - k) for k, bit in enumerate(register))
    return (value << 1).to_bytes(2)


def framed(data: bytes) -> bytes:
    return data + pec_bits(data)


class Host:
    """``n_cells`` cells of ``cell_v`` volts on their chips, just switched on."""

    def __init__(self, n_cells: int = 18, cell_v=3.7, **options):
        self.front = FrontEnd(n_cells, shunt_uohm=500, seed=3, **options)
        self.n_chips = len(self.front.spread)
        self.volts = [cell_v] * n_cells if isinstance(cell_v, float) else list(cell_v)
        self.temperatures_c = [25.0] * (3 * self.n_chips)
        self.current_a, self.die_c, self.fet_c = 0.0, 30.0, 40.0
        self.step(0.001)

    def step(self, dt_s: float) -> None:
        self.front.step(
            dt_s, self.volts, self.current_a, self.temperatures_c, self.die_c, self.fet_c
        )

    def wait(self, us: float) -> None:
        self.front.wait(us)

    def wake(self) -> None:
        self.front.spi(b"\xff")
        self.wait(400 * self.n_chips)

    def awake(self) -> "Host":
        self.wake()
        return self

    def send(self, code: int, extra: bytes = b"") -> bytes:
        return self.front.spi(framed(code.to_bytes(2)) + extra)[4:]

    def read(self, code: int) -> list[bytes | None]:
        """The group of each chip, ``None`` where its PEC is wrong."""
        data = self.send(code, bytes(8 * self.n_chips))
        found: list[bytes | None] = []
        for k in range(self.n_chips):
            frame = data[8 * k : 8 * k + 8]
            found.append(frame[:6] if pec_bits(frame[:6]) == frame[6:] else None)
        return found

    def write(self, code: int, *groups: bytes) -> None:
        """``groups``: chip 0 first."""
        self.send(code, b"".join(framed(group) for group in reversed(groups)))

    def write_all(self, code: int, group: bytes) -> None:
        self.write(code, *[group] * self.n_chips)

    def words(self, *codes: int, chip: int = 0) -> list[int]:
        found = []
        for code in codes:
            group = self.read(code)[chip]
            assert group is not None
            found += [int.from_bytes(group[k : k + 2], "little") for k in (0, 2, 4)]
        return found

    def cells(self, chip: int = 0) -> list[int]:
        return self.words(*RDCV, chip=chip)

    def convert(self, code: int = ADCV, us: float = 10_000.0) -> None:
        """Start a conversion, wait, and wake the ports again."""
        self.send(code)
        self.wait(us)
        self.front.spi(b"\xff")
        self.wait(10 * self.n_chips)

    def measured(self, code: int = ADCV, chip: int = 0, us: float = 10_000.0) -> list[int]:
        self.convert(code, us)
        return self.cells(chip)


def no_noise(host: Host) -> Host:
    """A converter without errors: what is left is the wiring."""
    for chip in host.front.chain.chips:
        chip.inputs._gain = [1.0] * 18
        chip.inputs._offset_v = [0.0] * 18
        chip.inputs._gpio_gain = 1.0
        chip.inputs.vref2_v = 3.0
        chip.inputs._rng.gauss = lambda _mean, _sd: 0.0
    return host
