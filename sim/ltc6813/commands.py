"""The command codes: eleven bits, of which conversions carry their options.

``COMMANDS`` holds every code the chip knows; what is not in it does not exist.
"""

from dataclasses import dataclass, replace

READ, WRITE, CONVERT, DO = 1, 2, 3, 4

_READS = {
    "CFGA": 0x002, "CFGB": 0x026,
    "CVA": 0x004, "CVB": 0x006, "CVC": 0x008, "CVD": 0x00A, "CVE": 0x009, "CVF": 0x00B,
    "AUXA": 0x00C, "AUXB": 0x00E, "AUXC": 0x00D, "AUXD": 0x00F,
    "STATA": 0x010, "STATB": 0x012,
    "SCTRL": 0x016, "PWM": 0x022, "PSB": 0x01E, "COMM": 0x722,
}  # fmt: skip
_WRITES = {
    "CFGA": 0x001, "CFGB": 0x024,
    "SCTRL": 0x014, "PWM": 0x020, "PSB": 0x01C, "COMM": 0x721,
}  # fmt: skip
_DO = {
    "CLRCELL": 0x711, "CLRAUX": 0x712, "CLRSTAT": 0x713, "PLADC": 0x714, "DIAGN": 0x715,
    "STCOMM": 0x723, "STSCTRL": 0x019, "CLRSCTRL": 0x018, "MUTE": 0x028, "UNMUTE": 0x029,
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """One code taken apart.

    ``name`` is the datasheet's without RD or WR, ``md`` the mode bits; ``channel`` is CH, CHG or
    CHST (0: all), ``self_test`` 1 or 2, ``pull`` +1 with the pull-up currents, -1 with the
    pull-down currents, else 0.
    """

    name: str
    kind: int
    md: int = 0
    discharge_permitted: bool = False
    channel: int = 0
    self_test: int = 0
    pull: int = 0


def _conversions(md: int) -> dict[int, Command]:
    """The conversions of one mode (LTC6813-1, table of command codes)."""
    found: dict[int, Command] = {}

    def add(code: int, name: str, **options: int) -> None:
        found[code | md << 7] = Command(name, CONVERT, md=md, **options)  # type: ignore[arg-type]

    for channel in range(7):
        add(0x460 | channel, "ADAX", channel=channel)
        add(0x400 | channel, "ADAXD", channel=channel)
        for up, pull in ((0, -1), (1, 1)):
            add(0x410 | up << 6 | channel, "AXOW", channel=channel, pull=pull)
    for channel in range(5):
        add(0x468 | channel, "ADSTAT", channel=channel)
        add(0x408 | channel, "ADSTATD", channel=channel)
    for test in (1, 2):
        add(0x207 | test << 5, "CVST", self_test=test)
        add(0x407 | test << 5, "AXST", self_test=test)
        add(0x40F | test << 5, "STATST", self_test=test)
    with_discharge = dict[int, Command]()
    for channel in range(7):
        with_discharge[0x260 | channel] = Command("ADCV", CONVERT, md, channel=channel)
        for up, pull in ((0, -1), (1, 1)):
            code = 0x228 | up << 6 | channel
            with_discharge[code] = Command("ADOW", CONVERT, md, channel=channel, pull=pull)
    with_discharge[0x201] = Command("ADOL", CONVERT, md)
    with_discharge[0x46F] = Command("ADCVAX", CONVERT, md)
    with_discharge[0x467] = Command("ADCVSC", CONVERT, md)
    for code, command in with_discharge.items():
        found[code | md << 7] = command
        found[code | md << 7 | 0x10] = replace(command, discharge_permitted=True)
    return found


def _all_commands() -> dict[int, Command]:
    found = {code: Command(name, READ) for name, code in _READS.items()}
    found |= {code: Command(name, WRITE) for name, code in _WRITES.items()}
    found |= {code: Command(name, DO) for name, code in _DO.items()}
    for md in range(4):
        found |= _conversions(md)
    return found


COMMANDS = _all_commands()


class UnknownCommandError(Exception):
    """A code with a good PEC that the chip does not have: the driver's mistake."""


class NotModelledError(Exception):
    """Something the chip has and this emulator does not."""
