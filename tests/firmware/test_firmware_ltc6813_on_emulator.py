"""The firmware on the second front end: a chain of LTC6813, an INA228 and switches, emulated.

Driver and emulator were written apart; here they meet, with all of the firmware around them.
"""

from pathlib import Path

import pytest
from app_rig import Rig

from common import models
from common.codes import Command, CommandResult, Fault, State, Switch, fault_names
from firmware.afe import AfeError
from firmware.board import Board
from firmware.settings import Settings, SettingsError

BOTH = (True, True)
NONE = (False, False)


pytestmark = pytest.mark.usefixtures("thaw")


def chain(tmp_path: Path, **spec: object) -> Rig:
    """A pack of 16 cells on two chips, switched on."""
    spec = {"n_cells": 16, "rated_ah": 50.0, "cells_per_chip": [8, 8], **spec}
    rig = Rig(tmp_path, afe="ltc6813", **spec)
    rig.run(6)
    return rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = chain(tmp_path)
    assert rig.closed == BOTH
    return rig


def until_open(rig: Rig, most_ms: int = 10_000) -> int:
    """Milliseconds until both switches are open."""
    begun_ms = rig.now_ms
    while rig.closed != NONE:
        rig.app.step()
        assert rig.now_ms - begun_ms < most_ms
    return rig.now_ms - begun_ms


def faults(rig: Rig) -> list[str]:
    return fault_names(rig.app.protection.active)


# --- what is measured -----------------------------------------------------------------------


@pytest.mark.parametrize(("n_cells", "spread"), [(3, [3]), (16, [8, 8]), (16, [5, 11])])
def test_every_cell_current_charge_and_temperature_are_what_they_are(
    tmp_path: Path, n_cells: int, spread: list[int]
) -> None:
    rig = chain(tmp_path, n_cells=n_cells, cells_per_chip=spread, ambient_c=17.0)
    rig.demand(-20.0)
    rig.run(20)
    seen = rig.snapshot()
    assert [cell["V"] for cell in seen["cells"]] == pytest.approx(rig.pack.cell_v, abs=0.0032)
    assert seen["VStk"] == pytest.approx(float(rig.pack.cell_v.sum()), rel=0.001)
    assert seen["A"] == pytest.approx(-20.0, abs=0.02)
    assert [seen["Tmp1"], seen["Tmp2"], seen["Tmp3"]] == pytest.approx([17.0] * 3, abs=1.0)
    assert seen["TmpFet"] == pytest.approx(rig.pack.fet_c, abs=1.0)
    assert seen["TmpAfe"] == pytest.approx(rig.pack.die_c, abs=6.0)
    assert seen["St"] == State.ON
    assert (seen["Flt"], seen["Ltc"]) == (0, 0)
    assert rig.read(models.DEVICE)["Afe"] == "LTC6813"
    assert rig.read(models.DEVICE)["AfeErr"] == 0


def test_the_charge_that_passed_is_counted(rig: Rig) -> None:
    total_uah = 0
    seq = rig.app.snapshot.seq
    before_ah = rig.pack.cells.soc.mean() * 50.0
    for current_a in (-30.0, 12.0, 0.0):
        rig.demand(current_a)
        for _ in range(900):
            rig.app.step()
            if rig.app.snapshot.seq != seq:
                seq = rig.app.snapshot.seq
                total_uah += rig.app.snapshot.delta_uah
    moved_ah = rig.pack.cells.soc.mean() * 50.0 - before_ah
    assert abs(moved_ah) > 0.5
    # Gain and time base of the INA228: half a per cent together.
    assert total_uah / 1e6 == pytest.approx(moved_ah, rel=0.006, abs=0.005)


# --- what opens the switches ----------------------------------------------------------------


def test_a_cell_out_of_its_limits_opens_within_a_period(rig: Rig) -> None:
    spec = rig.settings
    rig.pack.cells.soc[11] = 0.0
    rig.demand(-40.0)
    rig.run(1)
    opened_ms = None
    begun_ms = None
    for _ in range(4000):
        if begun_ms is None and rig.pack.cell_v.min() * 1000 < spec.cuv_mv - 10:
            begun_ms = rig.now_ms
        rig.app.step()
        if begun_ms is not None and not rig.closed[1]:
            opened_ms = rig.now_ms - begun_ms
            break
    assert opened_ms is not None
    assert opened_ms <= spec.period_ms + 20
    assert "CELL_UNDER_VOLTAGE" in faults(rig)


def test_a_short_circuit_is_opened_by_the_alert_line_before_the_firmware_looks(rig: Rig) -> None:
    front = rig.chip
    asked = rig.app.afe.ina.errors, rig.app.snapshot.seq
    rig.pack.demand = type(rig.pack.demand)(-600.0)
    rig.advance(200)  # no step of the firmware
    assert front.monitor.alert_low is False
    assert rig.closed == NONE
    assert rig.app.snapshot.seq == asked[1]
    rig.demand(0.0)
    rig.run(2)
    assert rig.app.protection.latched & 1 << Fault.SHORT_CIRCUIT
    assert front.switches.lines == 0  # held open by the firmware now, not by the alert alone
    rig.run(30)
    assert rig.closed == NONE
    assert rig.app.command(Command.CLEAR_LATCHED) == CommandResult.DONE
    rig.run(15)
    assert rig.closed == BOTH


@pytest.mark.parametrize("broken", ["chain", "monitor"])
def test_a_dead_chip_opens_all(rig: Rig, broken: str) -> None:
    if broken == "chain":
        rig.chip.chain.faults.dead_from = 1
    else:
        rig.chip.monitor.faults.dead = True
    assert until_open(rig) <= 2 * rig.settings.period_ms + 20
    rig.run(5)
    assert "AFE_COMMUNICATION" in faults(rig)
    assert rig.read(models.SNAPSHOT)["V"] is None
    assert "LTC6813" in str(rig.app.measurement.problem) or "INA228" in str(
        rig.app.measurement.problem
    )
    rig.chip.chain.faults.dead_from = None
    rig.chip.monitor.faults.dead = False
    rig.run(40)
    assert rig.closed == BOTH


def test_an_open_sense_wire_is_found_by_the_chips_own_test(rig: Rig) -> None:
    rig.chip.chain.faults.open_wires.add((1, 4))
    rig.run(20)
    assert rig.closed == NONE
    assert "OPEN_WIRE" in faults(rig)
    assert rig.app.afe.turns.wires.open[1] == 1 << 4


def test_a_lost_thermistor_is_told(tmp_path: Path) -> None:
    rig = chain(tmp_path, settings={"n_sensors": 3})
    assert rig.closed == BOTH
    rig.chip.chain.faults.thermistors[0, 2] = "open"
    rig.run(20)
    assert rig.closed == NONE
    assert "SENSOR_IMPLAUSIBLE" in faults(rig)


def test_a_welded_switch_is_told(rig: Rig) -> None:
    rig.chip.switches.welded = Switch.DISCHARGE
    rig.app.command(Command.DISCONNECT)
    rig.run(15)
    assert rig.closed == (False, True)
    assert rig.app.protection.latched & 1 << Fault.SWITCH_WELDED


def test_a_switch_that_does_not_close_is_told(rig: Rig) -> None:
    rig.chip.switches.stuck_open = Switch.CHARGE
    rig.run(10)
    assert rig.app.protection.latched & 1 << Fault.SWITCH_MISMATCH
    assert rig.closed == NONE


@pytest.mark.parametrize("fault", ["corrupt_answer_next", "corrupt_request_next"])
def test_one_wrong_bit_on_the_wire_changes_nothing(rig: Rig, fault: str) -> None:
    n_faults = rig.app.protection.n_faults
    for _ in range(40):
        setattr(rig.chip.chain.faults, fault, 1)
        rig.run(1)
        assert rig.closed == BOTH
        assert rig.app.snapshot.valid
    assert rig.app.protection.n_faults == n_faults
    assert [mv / 1000 for mv in rig.app.snapshot.cell_mv] == pytest.approx(
        rig.pack.cell_v, abs=0.0032
    )
    if fault == "corrupt_answer_next":
        assert rig.app.afe.errors >= 40


def test_a_chip_that_was_reset_is_configured_anew(rig: Rig) -> None:
    signature = rig.app.afe.signature
    rig.chip.chain.chips[1].power_on_reset()
    rig.run(1.2)
    assert rig.app.protection.active & 1 << Fault.AFE_RESET
    assert rig.closed == NONE
    rig.run(30)
    assert rig.closed == BOTH
    assert rig.app.afe.signature == signature


def test_a_monitor_that_was_reset_lets_its_alert_go_and_is_configured_anew(rig: Rig) -> None:
    rig.chip.monitor.power_on_reset()
    rig.chip.wait(10)
    assert rig.closed == NONE
    rig.run(30)
    assert rig.closed == BOTH


# --- balancing ------------------------------------------------------------------------------


def test_the_high_cells_are_bled_and_no_longer_than_the_firmware_lives(rig: Rig) -> None:
    rig.pack.cells.soc[:] = 0.93
    rig.pack.cells.soc[[2, 9]] = 0.97
    rig.demand(0.0)
    rig.run(30)
    assert rig.app.snapshot.balancing == rig.chip.balance_mask == 1 << 2 | 1 << 9
    before = rig.pack.cells.soc.copy()
    rig.run(600)
    lost = (before - rig.pack.cells.soc) * rig.pack.cells.capacity_ah
    assert lost[2] == pytest.approx(lost[9], rel=0.05)
    assert lost[2] > lost[0] + 0.01
    bled = [cell["Bled"] for cell in rig.read(models.ENERGY)["cells"]]
    assert bled[2] == pytest.approx(lost[2] - lost[0], rel=0.15, abs=0.003)
    assert rig.chip.balance_mask
    rig.advance(31_000)  # the interpreter stands still: the chips' watchdog and timer end it
    assert rig.chip.balance_mask == 0


# --- precharge ------------------------------------------------------------------------------


def test_terminals_are_charged_through_the_resistor_before_discharge_closes(
    tmp_path: Path,
) -> None:
    rig = Rig(
        tmp_path, afe="ltc6813", n_cells=16, rated_ah=50.0, terminals_uf=2000.0,
        settings={"precharge_ms": 3000, "precharge_mv": 1000},
    )  # fmt: skip
    lowest_v = []
    seen = set()
    for _ in range(400):
        rig.app.step()
        seen.add(rig.chip.switches.lines)
        if rig.chip.discharge_fet and not lowest_v:
            lowest_v.append(rig.pack.pack_v)
    assert rig.closed == BOTH
    assert Switch.PREDISCHARGE in seen  # alone: nothing closes the discharge switch by itself
    assert Switch.PREDISCHARGE | Switch.DISCHARGE not in seen
    assert lowest_v[0] >= float(rig.pack.cell_v.sum()) - 1.1


def test_terminals_that_do_not_charge_keep_the_switch_open(tmp_path: Path) -> None:
    rig = Rig(
        tmp_path, afe="ltc6813", n_cells=16, rated_ah=50.0, terminals_uf=2000.0, leak_ohm=20.0,
        settings={"precharge_ms": 1000, "precharge_mv": 1000, "precharge_tries": 2},
    )  # fmt: skip
    rig.run(40)
    assert not rig.closed[1]
    assert rig.app.protection.latched & 1 << Fault.PRECHARGE_FAILED


# --- which front end ------------------------------------------------------------------------


def settings(**values: object) -> Settings:
    pack = {"serial": "P", "n_cells": 16, "profile": "nmc", "rated_mah": 50000}
    return Settings.from_dict({**pack, **values})


def test_the_settings_name_the_front_end_and_a_wrong_name_is_refused() -> None:
    assert Board().make_afe(settings(afe="ltc6813")).name == "LTC6813"
    assert Board().make_afe(settings()).name == "BQ76952"
    with pytest.raises(SettingsError, match=r"afe 'bq769' is not known \(use one of bq76952, "):
        settings(afe="bq769")
    with pytest.raises(SettingsError, match="afe 7 is not known"):
        settings(afe=7)
    assert settings(afe="ltc6813").config_crc != settings().config_crc


@pytest.mark.parametrize(
    "wrong",
    [
        {"chip_cells": [8, 9]},
        {"chip_cells": [2, 14]},
        {"chip_cells": [3, 3, 3, 3, 4]},
        {"chip_cells": 16},
        {"chip_cells": ["8", "8"]},
        {"chip_cells": [8, 8], "afe": "bq76952"},
    ],
)
def test_cells_of_chips_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"chip_cells .* make n_cells 16"):
        settings(**{"afe": "ltc6813", **wrong})
    assert settings(afe="ltc6813", chip_cells=[5, 11]).chip_cells == (5, 11)


def test_a_driver_that_is_not_on_the_board_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "firmware.afe.ltc6813", None)
    with pytest.raises(SettingsError, match="afe ltc6813: its driver is not on this board"):
        Board().make_afe(settings(afe="ltc6813"))


def test_a_chain_of_another_length_than_the_settings_is_refused(tmp_path: Path) -> None:
    rig = chain(tmp_path, cells_per_chip=[4, 4, 8], settings={"chip_cells": [8, 8]})
    with pytest.raises(AfeError, match="more than 2 chips answer"):
        rig.app.afe.configure(rig.settings)
    assert rig.closed == NONE
    assert "CONFIGURATION" in faults(rig)
