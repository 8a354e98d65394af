"""What the driver of the chain does with what is rare: bad arguments, resets seen late, no bus."""

import pytest
from scripted_ltc6813 import ScriptedChain

from firmware.afe import AfeError
from firmware.afe.ina228 import Ina228
from firmware.afe.ltc6813 import Ltc6813
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot


class Bench:
    def __init__(self) -> None:
        self.chain = ScriptedChain(2)
        self.afe = Ltc6813(self.chain, (12, 12))
        self.snapshot = Snapshot(24)
        self.afe.configure(Settings("P1", 24, "nmc", 50000))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("sensors", [-1, 4])
def test_a_chip_has_at_most_three_sensors(sensors: int) -> None:
    with pytest.raises(ValueError, match=f"LTC6813: {sensors} sensors"):
        Ltc6813(ScriptedChain(1), (12,), sensors=sensors)


def test_a_look_at_a_chip_that_was_reset_tells_nothing(bench: Bench) -> None:
    bench.afe.read(bench.snapshot)
    bench.chain.chips[1].reset()
    with pytest.raises(AfeError, match="a chip was reset"):
        bench.afe.look(bench.snapshot)


@pytest.mark.parametrize("bit", range(2, 8))
def test_what_nobody_set_in_the_second_configuration_is_noticed(bench: Bench, bit: int) -> None:
    bench.afe.read(bench.snapshot)
    assert not bench.snapshot.afe_lost_settings
    bench.chain.chips[0].groups[0x0026][1] |= 1 << bit  # of MUTE, FDRF, PS, DTMEN, DCC0
    bench.afe.read(bench.snapshot)
    assert bench.snapshot.afe_lost_settings


def test_a_die_whose_temperature_was_not_converted_is_of_unknown_warmth(bench: Bench) -> None:
    for _ in range(12):
        bench.afe.read(bench.snapshot)
    assert bench.snapshot.afe_dc != UNKNOWN_DC
    bench.chain.chips[1].die = 0xFFFF
    for _ in range(12):
        bench.afe.read(bench.snapshot)
    assert bench.snapshot.afe_dc == UNKNOWN_DC


def test_a_current_sensor_that_cannot_be_written_to_is_told_and_the_bus_freed() -> None:
    chain = ScriptedChain(1)
    freed = []
    chain.recover_i2c = lambda: freed.append(1)
    ina = Ina228(chain)
    ina.configure(Settings("P1", 16, "nmc", 50000))

    def refuse(address: int, register: int, buffer: bytearray) -> None:
        raise OSError(5)

    chain.ina.writeto_mem = refuse
    chain.ina.registers[0x01] = 0
    with pytest.raises(AfeError, match="no answer at 0x40, 2 times"):
        ina.configure(Settings("P1", 16, "nmc", 50000))
    assert len(freed) == 2


def test_without_a_sensor_at_the_fets_their_temperature_is_unknown() -> None:
    chain = ScriptedChain(1)
    afe = Ltc6813(chain, (12,), fet_sensor=False)
    afe.configure(Settings("P1", 12, "nmc", 50000))
    snapshot = Snapshot(12)
    for _ in range(12):
        afe.read(snapshot)
    assert snapshot.fet_dc == UNKNOWN_DC
    assert snapshot.temp_dc[0] != UNKNOWN_DC


def test_the_divider_of_the_terminals_voltage_can_be_given() -> None:
    afe = Ltc6813(ScriptedChain(1), (12,), divider=3)
    afe.configure(Settings("P1", 12, "nmc", 50000))
    afe.ina.bus_mv = 1000
    snapshot = Snapshot(12)
    for _ in range(12):
        afe.read(snapshot)
    assert snapshot.load_mv == 3000
