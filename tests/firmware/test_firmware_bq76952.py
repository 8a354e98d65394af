"""What the driver makes of the chip: settings, figures, charge, switches, balancing, failures."""

import sys

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from interpreters import lines
from scripted_bq76952 import ScriptedBoard, ScriptedBq76952

from common.codes import Switch
from firmware.afe import AfeError, AfeSettingsError
from firmware.afe.bq76952 import Bq76952
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

SCRIPT = "bq76952_exchange.py"
ALL_FETS_OFF = (0x3E, b"\x95\x00")


class Bench:
    def __init__(self, n_cells: int = 16, rated_mah: int = 5000, crc: bool = True) -> None:
        self.chip = ScriptedBq76952(crc)
        self.board = ScriptedBoard(self.chip)
        self.settings = Settings("P1", n_cells, "nmc", rated_mah)
        self.afe = Bq76952(self.board, n_cells, crc)
        self.snapshot = Snapshot(n_cells)

    def configured(self) -> "Bench":
        self.afe.configure(self.settings)
        self.chip.log.clear()
        return self

    def read(self) -> Snapshot:
        self.afe.read(self.snapshot)
        return self.snapshot


@pytest.fixture
def bench() -> Bench:
    return Bench().configured()


# --- settings ---------------------------------------------------------------------------------


def test_all_settings_arrive_with_the_switches_held_open() -> None:
    bench = Bench()
    bench.afe.configure(bench.settings)
    log = bench.chip.log
    assert log[0] == ALL_FETS_OFF
    leave = log.index((0x3E, b"\x92\x00"))
    enable = log.index((0x3E, b"\x22\x00"))
    assert ALL_FETS_OFF in log[leave:enable]
    assert bench.chip.memory[0x9278] == 85
    assert bench.chip.memory[0x92B2] == 5
    assert bench.chip.answers[0x0057][0] & 0x10  # FET_EN
    assert not bench.chip.direct[0x12] & 0x09  # neither CONFIG_UPDATE nor POR
    assert bench.chip.rejected == 0


def test_control_of_the_switches_is_toggled_on_but_never_off() -> None:
    bench = Bench()
    bench.afe.configure(bench.settings)
    bench.afe.configure(bench.settings)
    assert bench.chip.log.count((0x3E, b"\x22\x00")) == 1
    assert bench.chip.answers[0x0057][0] & 0x10


def test_settings_that_stand_already_are_not_written_again() -> None:
    bench = Bench().configured()
    signature = bench.afe.signature
    bench.afe.configure(bench.settings)
    assert not [1 for register, _data in bench.chip.log if register == 0x60]
    assert bench.afe.signature == signature


def test_the_signature_tells_other_settings_apart() -> None:
    bench = Bench().configured()
    other = Bench(rated_mah=100000).configured()
    assert bench.afe.signature != other.afe.signature


def test_a_setting_that_does_not_stick_is_named() -> None:
    bench = Bench()
    bench.chip.forgets = (0x9278,)
    with pytest.raises(AfeSettingsError, match=r"COV Threshold \(0x9278\): wrote 85, read 0"):
        bench.afe.configure(bench.settings)
    with pytest.raises(AfeError, match="not configured"):
        bench.read()
    with pytest.raises(AfeError, match="stay open"):
        bench.afe.set_switches(Switch.CHARGE)


def test_a_write_that_got_lost_is_repeated() -> None:
    bench = Bench()
    bench.afe.configure(bench.settings)
    bench.chip.memory[0x9278] = 0x20  # as if the first had not been taken
    bench.afe.configure(bench.settings)
    assert bench.chip.memory[0x9278] == 85


def test_another_chip_is_refused() -> None:
    bench = Bench()
    bench.chip.answers[0x0001] = b"\x94\x76"
    with pytest.raises(AfeSettingsError, match="0x7694 is not 0x7695"):
        bench.afe.configure(bench.settings)


def test_a_sealed_chip_is_told_as_such() -> None:
    bench = Bench()
    bench.chip.set_word(0x12, 0x0300)
    with pytest.raises(AfeSettingsError, match="sealed"):
        bench.afe.configure(bench.settings)


def test_a_chip_that_never_gets_ready_is_given_up() -> None:
    bench = Bench()
    bench.chip.set_word(0x12, 0x0000)
    with pytest.raises(AfeError, match="not ready"):
        bench.afe.configure(bench.settings)
    assert bench.board.now_ms < 200


def test_a_blank_chip_is_switched_to_crc() -> None:
    bench = Bench()
    bench.chip.crc = False
    bench.afe.configure(bench.settings)
    assert bench.chip.crc
    assert bench.afe.bus.crc
    bench.read()


def test_a_chip_without_crc_can_be_used_where_that_is_wanted() -> None:
    bench = Bench(crc=False).configured()
    bench.chip.set_word(0x14, 3456)
    assert bench.read().cell_mv[0] == 3456
    assert bench.chip.crc is False


def test_settings_for_another_pack_are_refused() -> None:
    bench = Bench(n_cells=16)
    with pytest.raises(AfeSettingsError, match="correct n_cells"):
        bench.afe.configure(Settings("P1", 8, "nmc", 5000))


@pytest.mark.parametrize("n_cells", [17, 72])
def test_more_cells_than_the_chip_has_are_refused_by_name(n_cells: int) -> None:
    bench = Bench(16)
    afe = Bq76952(bench.board, n_cells)
    refusal = f"n_cells {n_cells}: it measures 3 to 16 .correct it"
    with pytest.raises(AfeSettingsError, match=refusal):
        afe.configure(Settings("P1", n_cells, "nmc", 5000))
    with pytest.raises(AfeError, match="switches stay open"):
        afe.set_switches(Switch.CHARGE | Switch.DISCHARGE)
    afe.set_switches(0)


def test_a_pin_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="'TS9'"):
        Bq76952(ScriptedBoard(None), 16, sensors=("TS9",))


# --- figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_cells", [3, 10, 15, 16])
def test_cells_come_from_their_inputs(n_cells: int) -> None:
    bench = Bench(n_cells).configured()
    for position in range(16):
        bench.chip.set_word(0x14 + 2 * position, 3000 + position)
    cells = list(bench.read().cell_mv)
    assert cells == [3000 + i for i in range(n_cells - 1)] + [3015]


def test_a_negative_cell_reads_as_zero(bench: Bench) -> None:
    bench.chip.set_word(0x14, -3)
    assert bench.read().cell_mv[0] == 0


@pytest.mark.parametrize(
    ("rated_mah", "raw", "current_ma"),
    [(5000, 1234, 1234), (5000, -1, -1), (50000, -32768, -327680), (200000, 100, 10000)],
)
def test_current_is_positive_when_charging(rated_mah: int, raw: int, current_ma: int) -> None:
    bench = Bench(rated_mah=rated_mah).configured()
    bench.chip.set_word(0x3A, raw)
    assert bench.read().current_ma == current_ma


def test_stack_voltage_comes_in_centivolts(bench: Bench) -> None:
    bench.chip.set_word(0x34, 5760)
    assert bench.read().stack_mv == 57600


def test_temperatures_are_kelvin_made_celsius(bench: Bench) -> None:
    chip = bench.chip
    for register, kelvin in ((0x70, 2981), (0x72, 2731), (0x74, 2631), (0x78, 3331), (0x68, 3001)):
        chip.set_word(register, kelvin)
    snapshot = bench.read()
    assert list(snapshot.temp_dc) == [250, 0, -100, UNKNOWN_DC]
    assert (snapshot.fet_dc, snapshot.afe_dc) == (600, 270)


@pytest.mark.parametrize("kelvin", [0, 1, 2270, 5000, 0x8000, 0xFFFF])
def test_an_open_or_shorted_thermistor_is_unknown(bench: Bench, kelvin: int) -> None:
    bench.chip.set_word(0x70, kelvin)
    assert bench.read().temp_dc[0] == UNKNOWN_DC


def test_without_a_sensor_at_the_fets_their_temperature_is_unknown() -> None:
    bench = Bench()
    bench.afe = Bq76952(bench.board, 16, fet_sensor=None)
    bench.configured()
    bench.chip.set_word(0x78, 3000)
    assert bench.read().fet_dc == UNKNOWN_DC


@pytest.mark.parametrize(
    ("status", "switches"),
    [
        (0x00, 0),
        (0x01, Switch.CHARGE),
        (0x02, Switch.PRECHARGE),
        (0x04, Switch.DISCHARGE),
        (0x08, Switch.PREDISCHARGE),
        (0x75, Switch.CHARGE | Switch.DISCHARGE),
    ],
)
def test_switches_are_what_the_chip_says(bench: Bench, status: int, switches: int) -> None:
    bench.chip.direct[0x7F] = status
    assert bench.read().switches == switches


def test_safety_and_permanent_failures_are_put_together(bench: Bench) -> None:
    for register, value in ((0x03, 0x08), (0x05, 0x10), (0x07, 0x02)):
        bench.chip.direct[register] = value
    for register, value in ((0x0B, 0x01), (0x0D, 0x02), (0x0F, 0x04), (0x11, 0x01)):
        bench.chip.direct[register] = value
    for alert in (0x02, 0x04, 0x06, 0x0A, 0x0C, 0x0E, 0x10):
        bench.chip.direct[alert] = 0xFF  # an alert is no fault yet
    snapshot = bench.read()
    assert snapshot.afe_safety == 0x021008
    assert snapshot.afe_failed == 0x01040201


@pytest.mark.parametrize(
    ("bits", "lost"), [(0x0108, True), (0x0110, True), (0x0101, True), (0x0100, False)]
)
def test_a_chip_that_was_reset_or_stands_still_has_lost_its_settings(
    bench: Bench, bits: int, lost: bool
) -> None:
    bench.chip.set_word(0x12, bits)
    assert bench.read().afe_lost_settings is lost


@pytest.mark.parametrize("reading", [0, 1, 2])
@pytest.mark.parametrize(
    ("register", "before", "torn", "after"),
    [
        (0x14, 0x0D00, 0x0C00, 0x0CFF),  # a cell
        (0x3A, 0x0000, 0x00FF, 0xFFFF),  # the current around zero
        (0x3A, 0xFFFF, 0xFF00, 0x0000),
        (0x34, 0x15FF, 0x16FF, 0x1600),  # the stack
        (0x70, 0x0BFF, 0x0B00, 0x0C00),  # a thermistor
    ],
)
def test_a_word_that_changes_while_it_is_read_is_not_put_together_wrongly(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    register: int,
    before: int,
    torn: int,
    after: int,
    reading: int,
) -> None:
    chip = bench.chip
    read = chip.readfrom_mem_into
    words = [before] * reading + [torn] + [after] * 3

    def readfrom_mem_into(address: int, first: int, buffer: memoryview) -> None:
        if first <= register < first + len(buffer) // 2:
            chip.set_word(register, words.pop(0))
        read(address, first, buffer)

    bench.read()
    monkeypatch.setattr(chip, "readfrom_mem_into", readfrom_mem_into)
    snapshot = bench.read()
    raw = {
        0x14: snapshot.cell_mv[0],
        0x3A: snapshot.current_ma // bench.afe._user_ma,
        0x34: snapshot.stack_mv // 10,
        0x70: snapshot.temp_dc[0] + 2731,
    }[register]
    assert raw & 0xFFFF in (before, after)


def test_a_true_step_is_followed_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = bench.chip
    read = chip.readfrom_mem_into
    steps = [3700, 3100, 3100]

    def readfrom_mem_into(address: int, first: int, buffer: memoryview) -> None:
        if first == 0x14:
            chip.set_word(0x14, steps.pop(0))
        read(address, first, buffer)

    monkeypatch.setattr(chip, "readfrom_mem_into", readfrom_mem_into)
    assert bench.read().cell_mv[0] == 3100


def test_a_reading_is_nine_transactions(bench: Bench) -> None:
    bench.read()
    before = bench.chip.transactions
    bench.read()
    assert bench.chip.transactions - before == 9


# --- charge -----------------------------------------------------------------------------------


def test_the_first_reading_counts_nothing(bench: Bench) -> None:
    bench.chip.set_charge(1234, 0x80000000, 77)
    assert bench.read().delta_uah == 0
    assert bench.read().delta_uah == 0


def test_the_fraction_is_added_even_to_a_negative_whole(bench: Bench) -> None:
    bench.chip.set_charge(0, 0, 1)
    bench.read()
    bench.chip.set_charge(-1, 0xD3C1C2E0, 2)  # TI forum: -0.17283
    assert bench.read().delta_uah in (-173, -172)


@given(
    steps=st.lists(st.integers(-(200 << 32), 200 << 32), min_size=1, max_size=20),
    start=st.integers(-(1 << 62), 1 << 62),
    unit=st.sampled_from([(5000, 1), (50000, 10), (200000, 100)]),
)
@hypothesis_settings(max_examples=100, deadline=None)
def test_no_charge_is_ever_lost_or_made(
    steps: list[int], start: int, unit: tuple[int, int]
) -> None:
    rated_mah, user_ma = unit
    bench = Bench(rated_mah=rated_mah).configured()
    counter = start
    total = 0
    for second, step in enumerate([0, *steps]):
        counter += step
        bench.chip.set_charge(counter >> 32, counter & 0xFFFFFFFF, second)
        total += bench.read().delta_uah
    exact = (counter - start) * user_ma * 1000 / 2**32
    assert total == pytest.approx(exact, abs=1 + user_ma * 1000 / 65536)


def test_small_currents_are_not_rounded_away(bench: Bench) -> None:
    counter = total = 0
    for second in range(1000):
        bench.chip.set_charge(counter >> 32, counter & 0xFFFFFFFF, second)
        total += bench.read().delta_uah
        counter += 1 << 20  # 0.00024 mAh a reading: less than a micro-Ah
    assert total == pytest.approx(999 * 1000 / 4096, abs=1.1)


def test_a_failed_reading_loses_no_charge(bench: Bench) -> None:
    bench.chip.set_charge(0, 0, 1)
    bench.read()
    bench.chip.set_charge(7, 0, 2)
    bench.chip.faults = [None] * 8 + ["nack"] * 3  # the last transaction
    with pytest.raises(AfeError):
        bench.read()
    bench.chip.set_charge(9, 0, 3)
    assert bench.read().delta_uah == 9000


def test_a_counter_that_began_anew_counts_nothing_once(bench: Bench) -> None:
    bench.chip.set_charge(500, 0, 100000)
    bench.read()
    bench.chip.set_charge(0, 0x7FFFFFFF, 1)
    assert bench.read().delta_uah == 0
    bench.chip.set_charge(1, 0x7FFFFFFF, 2)
    assert bench.read().delta_uah == 1000


@pytest.mark.parametrize("start_ms", [0, 2**30 - 7500, 2**29 - 7500])
def test_a_chip_whose_seconds_stand_still_measures_nothing(start_ms: int) -> None:
    # guards against comparing ticks with <: the clock jumps back while the chip stands still
    bench = Bench()
    bench.board.now_ms = start_ms
    bench.configured()
    for second in range(1, 6):
        bench.board.now_ms += 1000
        bench.chip.set_charge(0, 0, second)
        bench.read()
    for _ in range(4):
        bench.board.now_ms += 1000
        bench.read()
    for _ in range(3):
        bench.board.now_ms += 1000
        with pytest.raises(AfeError, match="stands still"):
            bench.read()
    bench.chip.set_charge(2, 0, 9)
    assert bench.read().delta_uah == 2000


def test_the_count_of_seconds_may_pass_16_bits(bench: Bench) -> None:
    bench.chip.set_charge(0, 0, 0xFFFF)
    bench.read()
    bench.chip.set_charge(3, 0, 0x10000)
    assert bench.read().delta_uah == 3000


# --- switches ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "control"),
    [
        (Switch.CHARGE | Switch.DISCHARGE, 0x0A),
        (Switch.CHARGE, 0x0B),
        (Switch.DISCHARGE, 0x0E),
        (Switch.PRECHARGE, 0x07),
        (Switch.PREDISCHARGE, 0x0D),
        (15, 0x00),
    ],
)
def test_what_is_not_allowed_is_forced_off(bench: Bench, allowed: int, control: int) -> None:
    bench.afe.set_switches(allowed)
    assert bench.chip.log[0] == (0x3E, bytes([0x97, 0x00, control]))
    assert bench.chip.log[1][0] == 0x60


def test_opening_all_is_one_write(bench: Bench) -> None:
    bench.read()
    before = bench.chip.transactions
    bench.afe.set_switches(0)
    assert bench.chip.log[-1] == ALL_FETS_OFF
    assert bench.chip.transactions - before == 1


def test_opening_works_after_failed_accesses(bench: Bench) -> None:
    bench.chip.deaf = True
    for _ in range(5):
        with pytest.raises(AfeError):
            bench.read()
    bench.chip.deaf = False
    bench.afe.set_switches(0)
    assert ALL_FETS_OFF in bench.chip.log


def test_opening_works_before_anything_is_configured() -> None:
    bench = Bench()
    bench.afe.set_switches(0)
    assert bench.chip.log == [ALL_FETS_OFF]


def test_a_chip_that_does_not_answer_is_told_to_whoever_wants_to_open(bench: Bench) -> None:
    bench.chip.deaf = True
    with pytest.raises(AfeError, match="not acknowledged"):
        bench.afe.set_switches(0)


# --- balancing --------------------------------------------------------------------------------


def test_balancing_is_told_by_input_and_read_back_by_cell() -> None:
    bench = Bench(10).configured()
    bench.afe.set_balancing(0b10_0000_0101)
    assert bench.chip.answers[0x0083] == b"\x05\x80"
    assert bench.read().balancing == 0b10_0000_0101
    bench.chip.answers[0x0083] = b"\x00\x00"  # the chip's own timer ended it
    assert bench.read().balancing == 0


@given(cells=st.integers(0, 0x1FFFF))
@hypothesis_settings(max_examples=100)
def test_neighbours_and_strangers_are_refused(cells: int) -> None:
    bench = Bench()
    text = f"{cells:b}"
    if "11" in text or cells > 0xFFFF:
        with pytest.raises(AfeError, match="balancing 0x"):
            bench.afe.set_balancing(cells)
        assert bench.chip.log == []
    else:
        bench.afe.set_balancing(cells)


# --- failures ---------------------------------------------------------------------------------


@given(
    faults=st.lists(st.sampled_from([None, None, None, "nack", "crc"]), max_size=60),
    busy=st.integers(0, 30),
)
@hypothesis_settings(max_examples=100, deadline=None)
def test_whatever_the_bus_does_a_reading_ends_and_is_right_or_refused(
    faults: list[str | None], busy: int
) -> None:
    bench = Bench().configured()
    for position in range(16):
        bench.chip.set_word(0x14 + 2 * position, 3300 + position)
    bench.chip.faults = list(faults)
    bench.chip.busy_reads = busy
    before = bench.chip.transactions
    try:
        snapshot = bench.read()
    except AfeError:
        pass
    else:
        assert list(snapshot.cell_mv) == [3300 + i for i in range(16)]
    assert bench.chip.transactions - before < 250
    bench.chip.faults.clear()
    bench.chip.busy_reads = 0
    bench.chip.busy = 0
    bench.read()


def test_failures_are_counted(bench: Bench) -> None:
    bench.chip.faults = ["nack", None, "crc"]
    bench.read()
    assert bench.afe.errors == 2


def test_a_chip_that_came_back_without_crc_has_lost_its_settings(bench: Bench) -> None:
    bench.chip.crc = False
    for _ in range(2):
        with pytest.raises(AfeError):
            bench.read()
    assert bench.read().afe_lost_settings
    bench.afe.configure(bench.settings)
    assert not bench.read().afe_lost_settings
    assert bench.chip.crc


# --- the other interpreter --------------------------------------------------------------------


def test_micropython_does_the_same_and_reads_without_allocating(micropython: str) -> None:
    expected = lines(sys.executable, SCRIPT)
    *printed, allocated = lines(micropython, SCRIPT)
    assert printed == expected
    assert allocated == "0"
