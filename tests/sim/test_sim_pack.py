"""A pack at a tester: what the switches let through, and what the program does."""

import numpy as np
import pytest

from sim import parameters
from sim.bench import Bench, Charge, Discharge, Rest, intake_program
from sim.pack import Demand, ModelledPack, PackSpec


def pack_of(**values: object) -> ModelledPack:
    values.setdefault("n_cells", 4)
    return ModelledPack(PackSpec("P1", **values), np.random.default_rng(1))


def test_charge_current_needs_the_charge_switch():
    pack = pack_of()
    pack.demand = Demand(20.0, 16.8)
    pack.step(1.0, charge_on=False, discharge_on=True)
    assert pack.current_a == 0.0
    pack.step(1.0, charge_on=True, discharge_on=True)
    assert pack.current_a == 20.0


def test_discharge_current_needs_the_discharge_switch():
    pack = pack_of()
    pack.demand = Demand(-20.0)
    pack.step(1.0, charge_on=True, discharge_on=False)
    assert (pack.current_a, pack.pack_v) == (0.0, 0.0)
    pack.step(1.0, charge_on=True, discharge_on=True)
    assert pack.current_a == -20.0


@pytest.mark.parametrize(
    ("demand", "charge_on", "discharge_on", "sign"),
    [(Demand(-20.0), False, True, 1), (Demand(20.0, 16.8), True, False, -1)],
)
def test_the_other_direction_passes_the_body_diode(demand, charge_on, discharge_on, sign):
    pack = pack_of()
    pack.demand = demand
    pack.step(1.0, charge_on=True, discharge_on=True)
    both_v = pack.pack_v
    pack.step(1.0, charge_on=charge_on, discharge_on=discharge_on)
    assert pack.current_a == demand.current_a
    assert sign * (both_v - pack.pack_v) == pytest.approx(0.7, abs=0.02)


def test_a_charger_at_its_voltage_lets_the_current_fall():
    pack = pack_of(soc=0.95)
    pack.demand = Demand(25.0, 4 * 4.2)
    currents = []
    for _ in range(1800):
        pack.step(1.0, charge_on=True, discharge_on=True)
        currents.append(pack.current_a)
        assert pack.pack_v <= 4 * 4.2 + 1e-6
    assert currents[0] == 25.0
    assert 0 < currents[-1] < 5.0


def test_a_long_step_is_taken_in_seconds():
    one, many = pack_of(), pack_of()
    one.demand = many.demand = Demand(-30.0)
    one.step(60.0, charge_on=True, discharge_on=True)
    for _ in range(60):
        many.step(1.0, charge_on=True, discharge_on=True)
    assert one.cell_v == pytest.approx(many.cell_v)


def test_the_same_seed_gives_the_same_pack_and_another_seed_another_one():
    spec = PackSpec("P1")
    first = ModelledPack(spec, np.random.default_rng(1)).truth()
    assert first == ModelledPack(spec, np.random.default_rng(1)).truth()
    assert first != ModelledPack(spec, np.random.default_rng(2)).truth()


def test_the_weakest_cell_decides_what_the_pack_can_move():
    pack = pack_of(soh=[0.9, 0.6, 0.9, 0.9], soh_spread=0.0, soc_spread=0.0)
    truth = pack.truth()
    assert truth["capacity_ah"] == pytest.approx(30.0)
    assert truth["soh"] == pytest.approx(0.6)
    assert np.argmin(truth["cell_soh"]) == 1


def test_bleeding_warms_the_chip_and_lowers_the_cell():
    pack = pack_of(soc_spread=0.0)
    for _ in range(3600):
        pack.step(1.0, charge_on=True, discharge_on=True, balance_mask=0b0100)
    assert pack.die_c > 30
    assert np.argmin(pack.truth()["cell_soc"]) == 2


@pytest.mark.parametrize("kind", ["nmc", "lfp"])
def test_the_intake_program_fills_and_empties_a_pack(kind):
    of_kind = parameters.kind(kind)
    pack = pack_of(kind=kind, soh=0.8)
    bench = Bench(pack, intake_program(50.0, 4, of_kind))
    socs = []
    for second in range(1, 30000):
        low_v, high_v = pack.cell_v.min(), pack.cell_v.max()
        pack.step(1.0, charge_on=high_v < 4.25, discharge_on=low_v > of_kind.discharge_v - 0.1)
        bench.update(float(second))
        if second % 10 == 0:
            socs.append(pack.truth()["soc"])
        if bench.done:
            break
    assert bench.done
    assert pack.finished
    assert max(socs) > 0.97
    assert min(socs) < 0.08
    assert [text.split(" ends")[0] for _, text in bench.log] == [
        "rest", "charge", "rest", "discharge", "rest", "recharge", "rest",
    ]  # fmt: skip


def test_the_tester_sees_that_the_pack_has_switched_off():
    pack = pack_of(soc=0.5)
    bench = Bench(pack, (Discharge(20.0, end_v=8.0), Rest(10.0)))
    for second in range(1, 60):
        pack.step(1.0, charge_on=True, discharge_on=second <= 30)
        bench.update(float(second))
    assert bench.done
    assert bench.log[0][1] == "discharge ends: the pack switched off"


def test_the_tester_waits_for_a_pack_that_is_not_on_yet():
    pack = pack_of(soc=0.5)
    bench = Bench(pack, (Charge(20.0, 16.8, 2.5),))
    for second in range(1, 40):
        pack.step(1.0, charge_on=second > 20, discharge_on=True)
        bench.update(float(second))
    assert not bench.done
    assert pack.current_a == 20.0


def test_terminals_are_charged_through_the_resistor_and_keep_their_voltage() -> None:
    pack = pack_of(terminals_uf=10_000.0, precharge_ohm=50.0)
    pack.step(1.0, charge_on=False, discharge_on=False)
    assert pack.pack_v == 0.0
    stack_v = float(pack.cell_v.sum())
    pack.step(0.5, charge_on=False, discharge_on=False, predischarge_on=True)
    assert pack.pack_v == pytest.approx(stack_v * (1 - np.exp(-1.0)), rel=0.01)
    pack.step(5.0, charge_on=False, discharge_on=False, predischarge_on=True)
    assert pack.pack_v == pytest.approx(stack_v, abs=0.01)
    pack.step(60.0, charge_on=False, discharge_on=False)
    assert pack.pack_v == pytest.approx(stack_v, abs=0.01)


def test_a_load_that_was_left_on_holds_the_terminals_down() -> None:
    pack = pack_of(terminals_uf=10_000.0, precharge_ohm=50.0, leak_ohm=50.0)
    pack.step(10.0, charge_on=False, discharge_on=False, predischarge_on=True)
    assert pack.pack_v == pytest.approx(float(pack.cell_v.sum()) / 2, rel=0.01)
