"""What the driver makes of the INA228: limits, current, charge to the last micro-Ah, alarms."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_ltc6813 import ScriptedChain, ScriptedIna228

from firmware.afe import AfeError, AfeSettingsError
from firmware.afe.ina228 import CHARGE_FLAG, DISCHARGE_FLAG, Ina228
from firmware.settings import Settings

FULL = 1 << 40


class Bench:
    def __init__(self, shunt_uohm: int = 500, rated_mah: int = 50000) -> None:
        self.board = ScriptedChain()
        self.chip: ScriptedIna228 = self.board.ina
        self.settings = Settings("P1", 16, "nmc", rated_mah)
        self.settings.shunt_uohm = shunt_uohm
        self.ina = Ina228(self.board)

    def configured(self) -> "Bench":
        self.ina.configure(self.settings)
        self.chip.log.clear()
        return self

    def count(self, charge: int) -> int:
        self.chip.charge = charge % FULL
        self.ina.read_alert()
        self.ina.read_current()
        return self.ina.count()


@pytest.fixture
def bench() -> Bench:
    return Bench().configured()


# --- settings ---------------------------------------------------------------------------------


def test_limits_lie_beyond_the_firmware_s_and_are_read_back() -> None:
    bench = Bench(rated_mah=50000)
    bench.ina.configure(bench.settings)
    applied, settings = bench.ina.applied, bench.settings
    assert settings.occ_ma * 3 // 2 <= applied["occ_ma"] < settings.occ_ma * 3 // 2 + 10
    assert settings.ocd_ma * 5 // 4 <= applied["scd_ma"] <= settings.ocd_ma * 3
    over, under = bench.chip.registers[0x0C], 0x10000 - bench.chip.registers[0x0D]
    assert over * 5000 // 500 == applied["occ_ma"]
    assert under * 5000 // 500 == applied["scd_ma"]


def test_everything_is_set_as_the_data_sheet_s_bits_say(bench: Bench) -> None:
    registers = bench.chip.registers
    assert registers[0x00] == 0  # +-163.84 mV
    assert registers[0x01] >> 12 == 0xA  # shunt alone, continuously
    assert registers[0x01] >> 6 & 7 == 4  # 540 us
    assert registers[0x01] & 7 == 1  # 4 averaged
    assert registers[0x02] == 4096
    assert registers[0x0B] & 0xF000 == 0x9000  # latched, fails towards "disabled"


@pytest.mark.parametrize(("register", "value"), [(0x3E, 0x5448), (0x3F, 0x2381), (0x3F, 0x0000)])
def test_another_chip_is_refused(register: int, value: int) -> None:
    bench = Bench()
    bench.chip.registers[register] = value
    with pytest.raises(AfeSettingsError, match="another chip is fitted"):
        bench.ina.configure(bench.settings)


def test_another_revision_is_welcome() -> None:
    bench = Bench()
    bench.chip.registers[0x3F] = 0x2282
    bench.configured()


def test_a_shunt_that_cannot_show_the_limit_is_refused() -> None:
    bench = Bench(shunt_uohm=1400, rated_mah=50000)
    bench.settings.ocd_ma = 100000
    with pytest.raises(AfeSettingsError, match="fit a smaller shunt"):
        bench.ina.configure(bench.settings)


def test_a_setting_that_does_not_stick_is_named() -> None:
    bench = Bench()

    def forget(address: int, register: int, buffer: bytearray) -> None:
        if register != 0x0C:
            ScriptedIna228.writeto_mem(bench.chip, address, register, buffer)

    bench.chip.writeto_mem = forget  # type: ignore[method-assign]
    with pytest.raises(AfeSettingsError, match=r"register 0x0C: wrote 0x.*, read 0x7FFF"):
        bench.ina.configure(bench.settings)


def test_what_stands_is_not_written_again(bench: Bench) -> None:
    bench.ina.configure(bench.settings)
    assert bench.chip.log == []


# --- current and charge -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "shunt_uohm", "current_ma"),
    [(1600, 500, 1000), (-1600, 500, -1000), (0x7FFFF, 500, 327679), (-0x80000, 250, -655360)],
)
def test_current_follows_the_shunt(raw: int, shunt_uohm: int, current_ma: int) -> None:
    bench = Bench(shunt_uohm).configured()
    bench.chip.current = raw
    bench.ina.read_current()
    assert bench.ina.current_ma == current_ma


@given(
    steps=st.lists(st.integers(-(1 << 22), 1 << 22), min_size=1, max_size=30),
    shunt_uohm=st.sampled_from([50, 100, 333, 500, 1000, 9973, 10000]),
    start=st.integers(0, FULL - 1),
)
def test_no_micro_ah_is_lost_across_any_wrap(
    steps: list[int], shunt_uohm: int, start: int
) -> None:
    bench = Bench(shunt_uohm, rated_mah=2000)
    bench.settings.occ_ma = bench.settings.ocd_ma = 1000
    bench.configured()
    assert bench.count(start) == 0
    charge, uah = start, 0
    for step in steps:
        charge += step
        uah += bench.count(charge)
    exact = Fraction((charge - start) * 3125, 36 * shunt_uohm)
    assert 0 <= exact - uah < 1


def test_one_hour_at_one_ampere_is_one_ah(bench: Bench) -> None:
    bench.count(0)
    assert bench.count(1600 * 3600) == 1000000  # 1600 x 0.625 mA


def test_a_reading_of_the_sum_that_the_bus_spoilt_is_noticed(bench: Bench) -> None:
    bench.count(1000)
    bench.chip.noise = [1 << 30]
    assert bench.count(1144) == 25
    assert bench.ina.errors == 1
    bench.chip.noise = [1 << 30, 1 << 31, 1 << 32, 1 << 33]
    with pytest.raises(AfeError, match="reads differently"):
        bench.count(1288)
    assert bench.count(1288) == 25, "a failed reading uses no charge up"


def test_a_configuration_that_stood_keeps_the_charge(bench: Bench) -> None:
    bench.count(0)
    bench.ina.configure(bench.settings)
    assert bench.count(144) == 25


def test_after_a_reset_the_sum_begins_anew(bench: Bench) -> None:
    bench.count(0)
    bench.count(1 << 35)
    bench.chip.reset()
    bench.ina.read_alert()
    assert bench.ina.lost
    bench.ina.configure(bench.settings)
    assert not bench.ina.lost
    assert bench.count(0) == 0
    assert bench.count(144) == 25


# --- alarms and failures ----------------------------------------------------------------------


@pytest.mark.parametrize("flag", [CHARGE_FLAG, DISCHARGE_FLAG])
def test_an_alarm_is_kept_though_looking_clears_it(bench: Bench, flag: int) -> None:
    bench.chip.registers[0x0B] |= flag
    bench.ina.read_alert()
    bench.ina.read_alert()
    assert bench.ina.flags == flag


def test_an_alarm_seen_while_configuring_is_kept(bench: Bench) -> None:
    bench.chip.registers[0x0B] |= DISCHARGE_FLAG
    bench.ina.configure(bench.settings)
    assert bench.ina.flags == DISCHARGE_FLAG


@pytest.mark.parametrize("register", [0x00, 0x01, 0x02, 0x0C, 0x0D])
def test_any_setting_that_changed_is_seen_within_five_looks(bench: Bench, register: int) -> None:
    bench.chip.registers[register] ^= 0x0010
    lost = 0
    for _ in range(5):
        bench.ina.read_alert()
        lost += bench.ina.lost
    assert lost == 1


def test_a_chip_that_stands_still_measures_nothing(bench: Bench) -> None:
    bench.chip.converting = False
    bench.ina.read_alert()  # may be an answer that was lost on its way
    with pytest.raises(AfeError, match="no conversion"):
        bench.ina.read_alert()


def test_a_corrupt_trim_is_believed_when_seen_twice(bench: Bench) -> None:
    bench.chip.registers[0x0B] &= ~1
    bench.ina.read_alert()
    assert bench.ina.corrupt


def test_an_access_is_repeated_once_and_then_given_up(bench: Bench) -> None:
    bench.chip.faults = ["nack"]
    bench.ina.read_alert()
    assert bench.ina.errors == 1
    bench.chip.faults = ["nack"] * 2
    with pytest.raises(AfeError, match="register 0x07: no answer at 0x40, 2 times"):
        bench.ina.read_current()
    bench.chip.faults = [None, None, None, "nack", "nack"]
    bench.chip.registers[0x01] = 0
    with pytest.raises(AfeError, match="no answer at 0x40"):
        bench.ina.configure(bench.settings)
