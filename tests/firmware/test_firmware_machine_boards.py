"""The boards with MicroPython's ``machine``, on a stand-in for it."""

import errno
import importlib
import os
import sys
import time
import types
from collections.abc import Iterator

import pytest
from core_fakes import nmc

from common.codes import ResetCause, Switch

WRAP = 1 << 30

PORTS = ("rp2", "esp32", "stm32")


class Machine(types.ModuleType):
    """A stand-in for ``machine``: a chip that only notes what is done to it, and its clock."""

    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET = 1, 2, 3, 4

    def __init__(self, port: str) -> None:
        super().__init__("machine")
        self.SOFT_RESET = 0 if port == "stm32" else 5
        self.port = port
        self.now_ms = 0
        self.log: list[tuple[object, ...]] = []
        self.holds_for = 0  # falling edges of SCL until a chip lets SDA go
        self.sda: object = None
        self.scl: object = None
        self.sends_ms = 0.0  # how long the UART says that it sends
        self.sent_ms = 0.0
        self.waiting = 0
        self.cause = self.PWRON_RESET
        self.mem32: dict[int, int] = {}
        self.levels: dict[object, int] = {}  # of what others drive
        self.fed: list[int] = []
        machine = self

        class Pin:
            IN, OUT, OPEN_DRAIN, PULL_UP = range(4)

            def __init__(self, number: object, *_: int, value: int | None = None) -> None:
                self.number = number
                if value is not None:
                    machine.log.append((number, value))

            def value(self, level: int | None = None) -> int:
                if level is None and self.number in machine.levels:
                    return machine.levels[self.number]
                if level is None:
                    return int(machine.log.count((machine.scl, 0)) >= machine.holds_for)
                machine.log.append((self.number, level))
                return level

        class UART:
            def __init__(self, number: int, baudrate: int, **options: object) -> None:
                if port == "stm32":
                    assert options.keys() <= {"rxbuf", "timeout", "timeout_char"}
                self.number = number
                self.options = options

            def any(self) -> int:
                return machine.waiting

            def readinto(self, _buffer: bytearray) -> None:
                return None

            def write(self, buffer: bytes) -> int:
                machine.log.append(("sent", len(buffer)))
                machine.sent_ms = machine.now_ms + machine.sends_ms
                return len(buffer)

            def txdone(self) -> bool:
                machine.now_ms += 1
                done = machine.now_ms >= machine.sent_ms
                if done:
                    machine.log.append(("done",))
                return done

        class I2C:
            def __init__(self, number: int, **options: object) -> None:
                if port == "stm32":
                    assert options.keys() <= {"freq", "timeout"}
                else:
                    assert {"sda", "scl"} <= options.keys()
                self.number = number
                self.options = options

        class SPI:
            def __init__(self, number: int, **options: object) -> None:
                pins = {"sck", "mosi", "miso"} if port != "stm32" else set()
                assert options.keys() == {"baudrate", "polarity", "phase"} | pins
                self.options = options

            def write_readinto(self, out: bytes, into: bytearray) -> None:
                machine.log.append(("spi", bytes(out)))
                into[:] = bytes(reversed(out))

            def write(self, out: bytes) -> None:
                machine.log.append(("spi", bytes(out)))

        class WDT:
            def __init__(self, timeout: int) -> None:
                self.timeout = timeout

            def feed(self) -> None:
                machine.fed.append(self.timeout)

        self.Pin, self.UART, self.I2C, self.SPI, self.WDT = Pin, UART, I2C, SPI, WDT

    def reset_cause(self) -> int:
        return self.cause

    def reset(self) -> None:
        self.log.append(("reset",))
        raise SystemExit

    def sleep_ms(self, ms: int) -> None:
        self.now_ms += ms


@pytest.fixture
def at_ms() -> int:
    """Where the clock begins."""
    return 0


@pytest.fixture(params=PORTS)
def machine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, at_ms: int
) -> Iterator[Machine]:
    made = Machine(request.param)
    made.now_ms = at_ms
    half = WRAP // 2
    for name, function in {
        "ticks_ms": lambda: made.now_ms % WRAP,
        "ticks_us": lambda: made.now_ms * 1000 % WRAP,
        "ticks_diff": lambda a, b: (a - b + half) % WRAP - half,
        "ticks_add": lambda a, b: (a + b) % WRAP,
        "sleep_us": lambda _us: None,
        "sleep_ms": made.sleep_ms,
    }.items():
        monkeypatch.setattr(time, name, function, raising=False)
    monkeypatch.setattr(
        os, "uname", lambda: types.SimpleNamespace(machine="Raspberry Pi Pico 2 with RP2350")
    )
    made.mem32 = {0x400D8008: 0, 0x4010002C: 1 << 16, 0x40058008: 0, 0x40064008: 1 << 8}
    monkeypatch.setitem(sys.modules, "machine", made)
    names = [
        "firmware.boards.lines",
        "firmware.boards.machine_board",
        *(f"firmware.boards.{port}" for port in PORTS),
    ]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    made.module = importlib.import_module(f"firmware.boards.{made.port}")
    made.sda, made.scl = made.module.PINS["sda"], made.module.PINS["scl"]
    yield made
    for name in names:
        sys.modules.pop(name, None)


def make_board(machine: Machine):
    name = machine.port.capitalize() + "Board"
    return getattr(machine.module, name)(nmc(), machine.module.PINS)


def test_a_board_comes_up_with_the_bus_free_and_the_line_quiet(machine: Machine) -> None:
    board = make_board(machine)
    de = machine.module.PINS["de"]
    assert board.name == machine.port
    assert board.reset_cause == ResetCause.POWER_ON
    assert (board.i2c.options["freq"], board.i2c.options["timeout"]) == (400000, 50000)
    assert machine.log[0] == (de, 0), "DE is low before anything else"
    assert (de, 1) not in machine.log
    assert (machine.scl, 0) not in machine.log, "a free bus is not clocked"
    assert board.uart._uart.options["rxbuf"] >= 256


def test_a_board_clocks_a_held_bus_free(machine: Machine) -> None:
    machine.holds_for = 6
    make_board(machine)
    assert machine.log.count((machine.scl, 0)) == 6
    last_clock = len(machine.log) - 1 - machine.log[::-1].index((machine.scl, 1))
    assert machine.log[last_clock + 1 : last_clock + 3] == [(machine.sda, 0), (machine.sda, 1)]


def test_a_board_gives_up_on_a_bus_that_stays_held(machine: Machine) -> None:
    machine.holds_for = 1000
    make_board(machine)
    assert machine.log.count((machine.scl, 0)) == 9


@pytest.mark.parametrize("at_ms", [0, WRAP - 3, WRAP // 2 - 3])
def test_the_rs485_driver_is_on_for_the_characters_and_no_longer(machine: Machine) -> None:
    board = make_board(machine)
    de = machine.module.PINS["de"]
    machine.log.clear()
    machine.sends_ms = 8.0
    assert board.uart.write(bytes(256)) == 256
    assert machine.log == [(de, 1), ("sent", 256), ("done",), (de, 0)]


@pytest.mark.parametrize("at_ms", [0, WRAP - 20, WRAP // 2 - 20])
def test_a_uart_that_never_ends_is_given_up_and_the_line_given_back(
    machine: Machine, at_ms: int
) -> None:
    board = make_board(machine)
    machine.sends_ms = 1e9
    with pytest.raises(OSError, match=str(errno.ETIMEDOUT)):
        board.uart.write(bytes(256))
    took_ms = machine.now_ms - at_ms
    assert took_ms <= 256 * 11000 / 115200 + 25
    assert machine.log[-1] == (machine.module.PINS["de"], 0)


def test_a_uart_that_takes_only_a_part_is_an_error(machine: Machine) -> None:
    board = make_board(machine)
    board.uart._uart.write = lambda buffer: len(buffer) - 1
    with pytest.raises(OSError, match=str(errno.EIO)):
        board.uart.write(b"abc")
    assert machine.log[-1] == (machine.module.PINS["de"], 0)


@pytest.mark.parametrize("at_ms", [0, WRAP - 10, WRAP // 2 - 10])
def test_a_board_sleeps_until_the_time_or_the_uart(machine: Machine, at_ms: int) -> None:
    board = make_board(machine)
    board.wait(board.ticks_add(board.ticks_ms(), 20))
    assert machine.now_ms == at_ms + 20
    machine.waiting = 1
    board.wait(board.ticks_add(board.ticks_ms(), 20))
    assert machine.now_ms == at_ms + 20


def test_the_watchdog_starts_with_the_first_feed(machine: Machine) -> None:
    board = make_board(machine)
    assert machine.fed == []
    board.feed_watchdog()
    board.feed_watchdog()
    assert machine.fed == [8000, 8000]


CHAIN = {
    "charge": "C", "discharge": "D", "predischarge": "P", "charge_closed": "c",
    "spi": 1, "sck": "K", "mosi": "O", "miso": "I", "cs": "S",
}  # fmt: skip


def chain_board(machine: Machine, **pins: object):
    name = machine.port.capitalize() + "Board"
    return getattr(machine.module, name)(nmc(), {**machine.module.PINS, **CHAIN, **pins})


def test_a_board_that_drives_its_switches_has_them_open_before_anything_else(
    machine: Machine,
) -> None:
    board = chain_board(machine)
    assert machine.log[:3] == [("C", 0), ("D", 0), ("P", 0)]
    board.feed_watchdog()
    assert machine.fed == [3000], "a reset is all that opens what the board itself drives"
    machine.log.clear()
    board.drive_switches(Switch.CHARGE | Switch.DISCHARGE)
    assert machine.log == [("P", 0), ("C", 1), ("D", 1)]
    machine.log.clear()
    board.drive_switches(Switch.PREDISCHARGE)
    assert machine.log == [("C", 0), ("D", 0), ("P", 1)], "what opens goes first"
    with pytest.raises(OSError, match=str(errno.ENODEV)):
        board.drive_switches(Switch.PRECHARGE)
    machine.levels["c"] = 1
    assert board.switch_feedback() == Switch.CHARGE
    machine.levels["c"] = 0
    assert board.switch_feedback() == 0


def test_a_board_without_feedback_lines_cannot_tell(machine: Machine) -> None:
    board = getattr(machine.module, machine.port.capitalize() + "Board")(
        nmc(), {**machine.module.PINS, "charge": "C", "discharge": "D"}
    )
    assert board.switch_feedback() == -1
    with pytest.raises(NotImplementedError):
        board.spi_transfer(b"a", bytearray(1))
    with pytest.raises(NotImplementedError):
        make_board(machine).drive_switches(0)


def test_a_chain_is_reached_with_chip_select_low_for_the_transfer_alone(machine: Machine) -> None:
    board = chain_board(machine)
    assert ("S", 1) in machine.log
    machine.log.clear()
    into = bytearray(3)
    board.spi_transfer(b"abc", into)
    assert machine.log == [("S", 0), ("spi", b"abc"), ("S", 1)]
    assert into == b"cba"
    machine.log.clear()
    board.spi_transfer(b"de", None)
    assert machine.log == [("S", 0), ("spi", b"de"), ("S", 1)]


def test_a_reset_by_the_firmware_is_a_reset_of_the_chip(machine: Machine) -> None:
    with pytest.raises(SystemExit):
        make_board(machine).reset()
    assert machine.log[-1] == ("reset",)


def test_a_board_starts_with_its_pins_and_the_settings_of_its_root(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def run(make, path: str) -> None:
        started.append((make(nmc()), path))

    monkeypatch.setattr(machine.module.main, "run", run)
    machine.module.start()
    machine.module.start("/other.json", pins={**machine.module.PINS, "de": "elsewhere"})
    (usual, path), (other, other_path) = started
    assert path == usual.root.rstrip("/") + "/settings.json"
    assert other_path == "/other.json"
    assert usual.pins == machine.module.PINS
    assert ("elsewhere", 0) in machine.log
    assert other.name == machine.port


@pytest.mark.parametrize(
    ("machine", "cause", "meaning"),
    [
        ("esp32", 1, ResetCause.POWER_ON),
        ("esp32", 2, ResetCause.SOFT),
        ("esp32", 3, ResetCause.WATCHDOG),
        ("esp32", 4, ResetCause.UNKNOWN),
        ("esp32", 5, ResetCause.SOFT),
        ("stm32", 0, ResetCause.SOFT),
        ("stm32", 1, ResetCause.POWER_ON),
        ("stm32", 2, ResetCause.PIN),
        ("stm32", 3, ResetCause.WATCHDOG),
        ("stm32", 4, ResetCause.UNKNOWN),
    ],
    indirect=["machine"],
)
def test_a_board_knows_why_it_started(machine: Machine, cause: int, meaning: int) -> None:
    machine.cause = cause
    assert make_board(machine).reset_cause == meaning


@pytest.mark.parametrize("machine", ["rp2"], indirect=True)
@pytest.mark.parametrize(
    ("chip", "reason", "reset", "meaning"),
    [
        ("RP2350", 0, 1 << 16, ResetCause.POWER_ON),
        ("RP2350", 0, 1 << 17, ResetCause.BROWN_OUT),
        ("RP2350", 0, 1 << 18, ResetCause.PIN),
        ("RP2350", 1, 1 << 16, ResetCause.WATCHDOG),
        ("RP2350", 2, 1 << 16, ResetCause.SOFT),
        ("RP2040", 0, 1 << 8, ResetCause.POWER_ON),
        ("RP2040", 0, 1 << 16, ResetCause.PIN),
        ("RP2040", 1, 1 << 8, ResetCause.WATCHDOG),
        ("RP2040", 2, 1 << 8, ResetCause.SOFT),
    ],
)
def test_an_rp2_board_asks_its_chip_why_it_started(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    chip: str,
    reason: int,
    reset: int,
    meaning: int,
) -> None:
    """The port calls ``machine.reset`` a watchdog's doing: three of those would be safe mode."""
    name = f"Raspberry Pi with {chip}"
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine=name))
    watchdog, powman = (0x400D8008, 0x4010002C) if chip == "RP2350" else (0x40058008, 0x40064008)
    machine.mem32 = {watchdog: reason, powman: reset}
    assert make_board(machine).reset_cause == meaning
