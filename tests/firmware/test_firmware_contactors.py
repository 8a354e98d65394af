"""Contactors that the board drives, in place of the FETs of a BQ76952."""

from pathlib import Path

import pytest
from app_rig import Rig

from common.codes import Command, Fault, Switch

BOTH = (True, True)
NONE = (False, False)


pytestmark = pytest.mark.usefixtures("thaw")


def rig_of(tmp_path: Path, **settings: int) -> Rig:
    return Rig(tmp_path, terminals_uf=2000.0, settings={"contactors": 1, **settings})


def test_contactors_close_after_the_checks_and_open_by_command(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    rig.run(2)
    assert rig.closed == NONE
    rig.run(5)
    assert rig.closed == BOTH
    rig.app.command(Command.DISCONNECT)
    rig.run(2)
    assert rig.closed == NONE
    assert rig.app.protection.n_faults == 0


def test_what_forbids_one_direction_opens_both(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    rig.run(6)
    rig.pack.cells.soc[1] = 1.02
    rig.demand(8.0)
    rig.run(60)
    assert rig.app.protection.active & 1 << Fault.CELL_OVER_VOLTAGE
    assert rig.closed == NONE


def test_the_terminals_are_charged_before_the_contactors_close(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, precharge_ms=3000, precharge_mv=1000)
    seen = set()
    for _ in range(400):
        before_v = rig.pack.pack_v
        rig.app.step()
        if rig.contactors.lines not in seen:
            seen.add(rig.contactors.lines)
            if rig.contactors.lines & Switch.DISCHARGE:
                assert before_v > float(rig.pack.cell_v.sum()) - 1.1
    assert seen == {0, Switch.PREDISCHARGE, Switch.CHARGE | Switch.DISCHARGE}


@pytest.mark.parametrize("which", [Switch.CHARGE, Switch.DISCHARGE])
def test_a_welded_contactor_is_told_though_nothing_flows(tmp_path: Path, which: int) -> None:
    rig = rig_of(tmp_path)
    rig.run(6)
    rig.contactors.welded = which
    rig.app.command(Command.DISCONNECT)
    rig.run(8)
    assert rig.app.protection.latched & 1 << Fault.SWITCH_WELDED


def test_a_contactor_that_does_not_close_is_told_and_the_other_opened(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    rig.run(6)
    rig.contactors.stuck_open = Switch.CHARGE
    rig.run(8)
    assert rig.app.protection.latched & 1 << Fault.SWITCH_MISMATCH
    assert rig.closed == NONE


def test_contactors_that_cannot_be_driven_open_the_chips_switches(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    rig.run(6)
    assert rig.chip.charge_fet

    def broken(_bits: int) -> None:
        raise OSError(5, "the expander does not answer")

    rig.contactors.drive = broken  # type: ignore[method-assign]
    rig.app.measurement.set_switches(3)
    rig.run(0.3)
    assert (rig.chip.charge_fet, rig.chip.discharge_fet) == NONE
