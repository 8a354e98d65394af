"""The firmware as a whole: cells and an emulated chip on one side, a Modbus host on the other."""

import contextlib
import json
import math
import re
import socket
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from app_rig import Rig
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from interpreters import lines

from common import models
from common.codes import Command, CommandResult, Fault, State, fault_names
from common.crc import crc16_modbus
from common.registers import RegisterMap
from firmware import main
from firmware.afe import AfeSettingsError
from firmware.app import App
from firmware.settings import Settings, SettingsError
from firmware.storage import Storage
from sim.bq76952 import Faults

pytestmark = pytest.mark.usefixtures("thaw")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.run(6)
    assert rig.closed == (True, True)
    return rig


def mean_soc(rig: Rig) -> float:
    return float(rig.pack.cells.soc.mean())


def test_switches_are_open_until_the_first_checks_have_passed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.run(2)
    assert rig.closed == (False, False)
    assert rig.app.protection.state == State.START
    rig.run(4)
    assert rig.closed == (True, True)


def test_what_a_client_reads_is_what_the_cells_are(rig: Rig) -> None:
    rig.demand(-5.0)
    rig.run(30)
    seen = rig.snapshot()
    assert [cell["V"] for cell in seen["cells"]] == pytest.approx(rig.pack.cell_v, abs=0.006)
    assert seen["A"] == pytest.approx(-5.0, abs=0.05)
    assert seen["V"] == pytest.approx(float(rig.pack.cell_v.sum()), abs=0.02)
    assert seen["Tmp1"] == pytest.approx(25.0, abs=1.0)
    assert seen["St"] == State.ON
    assert seen["Flt"] == seen["Ltc"] == 0
    assert seen["Boot"] == 1
    assert seen["Seq"] == seen["SeqEnd"] == rig.app.snapshot.seq


@pytest.mark.parametrize(("n_cells", "rated_ah"), [(3, 2.5), (15, 50.0), (16, 280.0)])
def test_the_smallest_and_the_largest_packs_are_measured_cell_by_cell(
    tmp_path: Path, n_cells: int, rated_ah: float
) -> None:
    rig = Rig(tmp_path, n_cells=n_cells, rated_ah=rated_ah)
    rig.demand(-rated_ah / 4)
    rig.run(20)
    assert rig.closed == (True, True)
    seen = rig.snapshot()
    assert [cell["V"] for cell in seen["cells"]] == pytest.approx(rig.pack.cell_v, abs=0.006)
    battery = rig.read(models.BATTERY)
    assert battery["A"] == pytest.approx(-rated_ah / 4, rel=0.01)
    assert battery["W"] == pytest.approx(battery["A"] * battery["V"], rel=0.01)
    assert rig.read(models.MODULE)["NCell"] == n_cells


def test_every_model_can_be_read_and_belongs_to_this_pack(rig: Rig) -> None:
    rig.run(20)
    stamps = set()
    for block in rig.app.image.map.blocks:
        model = rig.read(block.layout.id)
        if "SnCrc" in model and block.layout.id != models.RECALL:
            stamps.add(model["SnCrc"])
    assert len(stamps) == 1
    assert rig.read(models.COMMON)["SN"] == "RIG"
    device = rig.read(models.DEVICE)
    assert device["MeasUs"] > 0
    assert device["Overrun"] == 0
    assert device["AfeErr"] == 0


def test_counted_charge_is_the_charge_that_flowed(rig: Rig) -> None:
    before = mean_soc(rig)
    rig.demand(-5.0)
    counted_uah = 0
    for _ in range(360):
        rig.run(1)
        counted_uah += rig.app.snapshot.delta_uah
    moved_ah = (before - mean_soc(rig)) * float(rig.pack.cells.capacity_ah.mean())
    assert counted_uah / 1e6 == pytest.approx(-moved_ah, rel=0.01)


def np_mean_soc(rig: Rig) -> float:
    return rig.pack.cells.soc.mean()


@pytest.mark.parametrize("start_ms", [(1 << 30) - 5000, (1 << 29) - 5000])
def test_a_wrap_of_the_clock_changes_nothing(tmp_path: Path, start_ms: int) -> None:
    rig = Rig(tmp_path, start_ms=start_ms)
    rig.run(30)
    assert rig.closed == (True, True)
    assert rig.app.executive.overruns == 0
    assert rig.app.snapshot.seq == 30
    assert rig.app.protection.n_faults == 0


# --- the pack is kept safe ------------------------------------------------------------------


def test_a_charger_that_does_not_stop_is_stopped_and_the_pack_can_still_be_used(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, soc=0.97)
    rig.run(6)
    rig.demand(9.0)
    for _ in range(900):
        rig.run(1)
        assert rig.pack.cell_v.max() < 4.30
        if not rig.closed[0]:
            break
    assert rig.closed[0] is False
    assert rig.pack.cell_v.max() > 4.0, "stopped by the voltage, not by something else"
    rig.run(3)
    assert rig.app.protection.state == State.DISCHARGE_ONLY
    assert "CELL_OVER_VOLTAGE" in fault_names(rig.app.protection.active)
    rig.demand(-5.0)
    rig.run(120)
    assert rig.closed == (True, True)


def test_an_empty_pack_stops_and_can_be_charged_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, soc=0.04)
    rig.run(6)
    rig.demand(-10.0)
    for _ in range(900):
        rig.run(1)
        assert rig.pack.cell_v.min() > 2.5
        if not rig.closed[1]:
            break
    rig.run(3)
    assert rig.app.protection.state == State.CHARGE_ONLY
    rig.demand(5.0)
    rig.run(300)
    assert rig.closed == (True, True)
    assert rig.pack.current_a > 0


def test_a_chip_that_falls_silent_opens_the_switches_in_two_cycles(rig: Rig) -> None:
    rig.chip.faults.nack_next = 10**9
    rig.run(2.5)
    assert rig.app.protection.allowed == 0
    assert "AFE_COMMUNICATION" in fault_names(rig.app.protection.active)
    seen = rig.snapshot()
    assert seen["A"] is None
    assert seen["cells"][0]["V"] is None
    rig.chip.faults.nack_next = 0
    rig.run(10)
    assert rig.closed == (True, True)


def test_one_disturbed_reading_is_ridden_through(rig: Rig) -> None:
    for _ in range(5):
        rig.chip.faults.nack_next = 1
        rig.chip.faults.corrupt_crc_next = 1
        rig.run(5)
        assert rig.closed == (True, True)
    assert rig.app.protection.n_faults == 0
    assert rig.app.afe.errors > 0


def test_a_chip_that_was_reset_is_configured_again(rig: Rig) -> None:
    signature = rig.app.afe.signature
    rig.chip.power_on_reset()
    assert rig.closed == (False, False)
    rig.run(15)
    assert rig.closed == (True, True)
    assert rig.app.protection.last_fault == Fault.AFE_RESET
    assert rig.app.afe.signature == signature


def test_the_chip_opens_by_itself_when_the_firmware_stops(rig: Rig) -> None:
    for _ in range(60):
        rig.advance(1000)  # time passes, the firmware does not run
        if rig.closed == (False, False):
            break
    assert rig.closed == (False, False)


DISTURBANCES = st.tuples(
    st.sampled_from(["nack_next", "corrupt_crc_next", "stuck_busy", "dead", "reset"]),
    st.integers(1, 40),  # how often, or how many cycles
)


@hypothesis_settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(disturbances=st.lists(DISTURBANCES, min_size=1, max_size=4))
def test_whatever_the_bus_does_the_pack_is_safe_and_comes_back(
    tmp_path: Path, disturbances: list[tuple[str, int]]
) -> None:
    rig = Rig(tmp_path)
    rig.run(6)
    for what, n in disturbances:
        if what == "reset":
            rig.chip.power_on_reset()
        else:
            setattr(rig.chip.faults, what, n if what.endswith("next") else True)
        blind = 0
        for _ in range(5):
            rig.run(1)
            blind = 0 if rig.app.snapshot.valid else blind + 1
            assert blind < 3 or rig.app.protection.allowed == 0
        rig.chip.faults = Faults()
        if what == "dead":
            rig.chip.power_on_reset()
    rig.run(30)
    assert rig.app.snapshot.valid
    assert rig.closed == (True, True)


def test_clearing_latches_ends_those_of_the_chip_first(rig: Rig) -> None:
    rig.run(6)
    order = []
    rig.app.afe.recover = lambda: order.append("chip")
    clear = rig.app.protection.clear_latched
    rig.app.protection.clear_latched = lambda: (order.append("firmware"), clear())[1]
    assert rig.app.command(Command.CLEAR_LATCHED) == CommandResult.DONE
    assert order == ["chip", "firmware"]


def test_a_loose_sense_wire_opens_the_switches(rig: Rig) -> None:
    rig.chip.faults.open_wire_above = 1
    rig.run(600)
    assert rig.closed == (False, False)


def test_the_watchdog_is_fed_while_all_tasks_run(rig: Rig) -> None:
    rig.run(20)
    gaps = [b - a for a, b in pairwise(rig.fed_ms)]
    assert max(gaps) <= 1100


def test_the_watchdog_starves_when_a_task_is_left_out(rig: Rig) -> None:
    (estimate,) = (task for task in rig.app.executive.tasks if task.name == "estimate")
    rig.run(2)
    estimate.due_ms = rig.ticks_add(estimate.due_ms, 100_000)
    rig.run(2)
    fed = len(rig.fed_ms)
    rig.run(20)
    assert len(rig.fed_ms) == fed


def test_whatever_ends_the_loop_opens_the_switches(rig: Rig) -> None:
    path = Path(rig.root) / "settings.json"
    path.write_text(json.dumps(rig.spec.board_settings()))

    def break_it(app) -> None:
        measure = app.executive.tasks[0].function

        def mistaken() -> None:
            measure()
            if app.snapshot.seq > 10:
                assert rig.closed == (True, True)
                raise RuntimeError("a mistake")

        app.executive.tasks[0].function = mistaken

    with pytest.raises(RuntimeError):
        main.run(lambda _settings: rig, str(path), break_it)
    rig.advance(300)
    assert rig.closed == (False, False)


def start_with(rig: Rig, **changes: object) -> None:
    """Start the board anew with a changed settings file, and let it work for 12 s."""
    path = Path(rig.root) / "settings.json"
    path.write_text(json.dumps({**rig.spec.board_settings(), **changes}))

    def make_board(settings: Settings) -> Rig:
        rig.settings = settings
        return rig

    def begin(app: App) -> None:
        rig.app = app
        rig.run(12)
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        main.run(make_board, str(path), begin)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cov_mv": 4300}, r"settings\.json: cov_mv 4300 is above 4250"),
        ({"cov": 4200}, r"settings\.json: cov is not a setting"),
        ({"period_ms": "1000"}, r"settings\.json: period_ms '1000' must be a whole number"),
    ],
)
def test_a_board_with_wrong_limits_measures_and_serves_with_the_switches_open(
    rig: Rig, capsys: pytest.CaptureFixture[str], changes: dict[str, object], message: str
) -> None:
    start_with(rig, **changes)
    assert re.search(message, capsys.readouterr().out)
    assert rig.closed == (False, False)
    seen = rig.snapshot()
    assert fault_names(seen["Flt"]) == ["CONFIGURATION"]
    assert seen["St"] == State.BLOCKED
    assert [cell["V"] for cell in seen["cells"]] == pytest.approx(rig.pack.cell_v, abs=0.006)
    assert rig.read(models.PROTECTION)["Cov"] <= 4.25
    assert rig.command(Command.CONNECT) == CommandResult.REFUSED_UNSAFE
    rig.run(10)
    assert rig.closed == (False, False)
    start_with(rig)
    assert rig.closed == (True, True), "the next start with right settings closes them"


@pytest.mark.parametrize(
    "changes", [{"address": 300}, {"n_cells": 80}, {"profile": "lead"}, {"shunt_uohm": 0}]
)
def test_a_board_that_cannot_tell_who_it_is_or_what_it_measures_does_not_start(
    rig: Rig, changes: dict[str, object]
) -> None:
    with pytest.raises(SettingsError, match="settings.json: " + next(iter(changes))):
        start_with(rig, cov_mv=4300, **changes)


def test_a_chip_that_forgets_a_setting_keeps_the_switches_open_and_says_why(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.app.afe._setup._check_device = refuse  # the chip's identity is all that is wrong with it
    rig.chip.power_on_reset()
    rig.run(5)
    assert rig.closed == (False, False)
    assert "CONFIGURATION" in fault_names(rig.snapshot()["Flt"])
    assert capsys.readouterr().out == "another chip is fitted\n"
    del rig.app.afe._setup._check_device
    rig.run(15)
    assert rig.closed == (True, True)
    assert capsys.readouterr().out == "measures again\n"


def refuse() -> None:
    raise AfeSettingsError("another chip is fitted")


# --- commands and what survives -----------------------------------------------------------------


def test_a_pack_is_disconnected_and_connected_over_modbus(rig: Rig) -> None:
    assert rig.command(Command.DISCONNECT) == CommandResult.DONE
    rig.run(2)
    assert rig.closed == (False, False)
    assert rig.snapshot()["St"] == State.STANDBY
    assert rig.command(Command.CONNECT) == CommandResult.DONE
    rig.run(2)
    assert rig.closed == (True, True)


def test_a_disconnected_pack_stays_so_over_a_restart(rig: Rig) -> None:
    assert rig.command(Command.DISCONNECT) == CommandResult.DONE
    rig.run(2)
    rig.boot()
    rig.run(10)
    assert rig.closed == (False, False)
    assert rig.snapshot()["St"] == State.STANDBY
    assert rig.read(models.BATTERY)["SetOp"] == 2
    assert rig.command(Command.CONNECT) == CommandResult.DONE
    rig.run(2)
    rig.boot()
    rig.run(10)
    assert rig.closed == (True, True)


def test_what_flash_refused_is_saved_as_soon_as_it_takes_it(rig: Rig) -> None:
    root = rig.app.storage.root
    rig.app.storage.root = root + "/gone"
    rig.app.protection.restore_latched(1 << Fault.CELL_DEEP_DISCHARGE)
    rig.run(5)
    assert "STORAGE" in fault_names(rig.app.protection.active)
    rig.app.storage.root = root
    rig.run(15)
    assert "STORAGE" not in fault_names(rig.app.protection.active)
    rig.boot()
    rig.run(10)
    assert rig.closed == (False, False)
    assert rig.snapshot()["Ltc"] == 1 << Fault.CELL_DEEP_DISCHARGE


def test_a_boot_whose_number_could_not_be_saved_is_counted_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "save", full)
        assert rig.boot().boot == 2
        rig.run(6)
        assert fault_names(rig.app.protection.active) == ["STORAGE"]
        assert rig.closed == (True, True)
    rig.run(15)
    assert rig.boot().boot == 3


def test_a_latched_fault_stays_over_a_restart_until_it_is_cleared(rig: Rig) -> None:
    rig.app.protection.restore_latched(1 << Fault.CELL_DEEP_DISCHARGE)
    rig.run(2)
    assert rig.closed == (False, False)
    rig.boot()
    rig.run(10)
    assert rig.closed == (False, False)
    seen = rig.snapshot()
    assert (seen["St"], seen["Ltc"]) == (State.FAULT, 1 << Fault.CELL_DEEP_DISCHARGE)
    assert rig.command(Command.CONNECT) == CommandResult.REFUSED_UNSAFE
    assert rig.command(Command.CLEAR_LATCHED) == CommandResult.DONE
    rig.run(3)
    assert rig.closed == (True, True)
    rig.boot()
    rig.run(6)
    assert rig.closed == (True, True)


def test_an_unknown_command_is_refused_or_said_to_be_unknown(rig: Rig) -> None:
    assert rig.app.command(99) == CommandResult.REFUSED_UNKNOWN
    assert rig.app.command(Command.NONE) == CommandResult.NONE


def test_boots_are_counted(rig: Rig) -> None:
    assert [rig.app.boot, rig.boot().boot, rig.boot().boot] == [1, 2, 3]


def test_estimates_survive_a_restart(rig: Rig) -> None:
    rig.run(1500)  # rest: the voltage tells the SOC
    known = rig.app.estimators.soc_bp
    assert known is not None
    assert abs(known / 100 - 50) < 5
    charged_mah = rig.app.estimators.state()
    rig.boot()
    rig.run(5)
    assert rig.app.estimators.soc_bp is not None
    assert abs(rig.app.estimators.soc_bp - known) < 300
    assert len(rig.app.estimators.state()) == len(charged_mah)


def test_a_gateway_sets_the_time(rig: Rig) -> None:
    assert rig.snapshot()["Utc"] is None
    utc_s = 1_800_000_000
    rig.write(models.CONTROL, "SetUtc", utc_s >> 16, utc_s & 0xFFFF)
    rig.run(10)
    assert 8 <= rig.snapshot()["Utc"] - utc_s <= 13


def test_storage_that_fails_is_a_fault_that_opens_nothing(rig: Rig) -> None:
    rig.app.storage.root = rig.root + "/gone"
    rig.run(301)
    assert "STORAGE" in fault_names(rig.app.protection.active)
    assert rig.closed == (True, True)


def test_an_unbalanced_pack_is_balanced_by_its_highest_cell(tmp_path: Path) -> None:
    rig = Rig(tmp_path, soc=0.8, soc_spread=0.0)
    rig.pack.cells.soc[2] += 0.05
    rig.run(40)
    assert rig.chip.balance_mask & 0b0100 or rig.app.snapshot.balancing & 0b0100
    assert rig.app.protection.n_faults == 0


# --- a host that asks without end ---------------------------------------------------------------


class Flood:
    """A host that sends the next request as soon as the answer has come."""

    def __init__(self, rig: Rig, baudrate: int) -> None:
        self.rig = rig
        self.frame = bytes([1]) + struct.pack(">BHH", 3, models.BASE_ADDRESS, 125)
        self.frame += struct.pack("<H", crc16_modbus(self.frame, 0, len(self.frame)))
        self.ms_per_byte = 10_000 / baudrate
        self.answers = 0
        self.measured_ms: list[int] = []
        measure = rig.app.executive.tasks[0]
        assert measure.name == "measure"
        work = measure.function

        def note() -> None:
            self.measured_ms.append(rig.now_ms)
            work()

        measure.function = note
        self.next_ms: int | None = rig.now_ms  # when the next request has come in full
        rig.uart.write = self.write
        rig.wait = self.wait

    def write(self, answer: bytes) -> int:
        self.rig.advance(math.ceil(len(answer) * self.ms_per_byte))
        self.answers += 1
        self.next_ms = self.rig.now_ms + 2
        return len(answer)

    def wait(self, until_ms: int) -> None:
        rig = self.rig
        while not rig.uart.any() and rig.ticks_diff(until_ms, rig.ticks_ms()) > 0:
            rig.advance(1)
            if self.next_ms is not None and rig.now_ms >= self.next_ms:
                self.next_ms = None
                rig.uart.waiting += self.frame

    def longest_gap_ms(self) -> int:
        times = self.measured_ms
        return max(b - a for a, b in pairwise(times))


@pytest.mark.parametrize(
    ("period_ms", "baudrate", "start_ms"),
    [
        (1000, 115200, 0),
        (100, 115200, 0),
        (1000, 19200, 0),
        (1000, 9600, 0),
        (1000, 9600, (1 << 30) - 8000),  # the clock wraps while it answers
        (1000, 9600, (1 << 29) - 8000),
    ],
)
def test_a_flood_of_requests_does_not_delay_the_measurement(
    tmp_path: Path, period_ms: int, baudrate: int, start_ms: int
) -> None:
    rig = Rig(tmp_path, start_ms=start_ms)
    rig.settings.period_ms = period_ms
    rig.settings.baudrate = baudrate
    rig.boot()
    rig.run(3)
    flood = Flood(rig, baudrate)
    rig.run(10)
    assert flood.longest_gap_ms() <= period_ms + 20
    assert rig.app.executive.overruns == 0
    assert flood.answers * 255 * flood.ms_per_byte > 4000, "much of the time it answers"


# --- on MicroPython -----------------------------------------------------------------------------


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        yield sock


def test_the_same_firmware_runs_on_micropython_and_serves_tcp(
    tmp_path: Path, micropython: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells, chip and clock in this process; the board in its own, with real MicroPython."""
    from sim.pack import PackSpec  # noqa: PLC0415
    from sim.world import World  # noqa: PLC0415

    monkeypatch.setenv("ECHELON_MICROPYTHON", micropython)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with World(seed=1, folder=tmp_path / "boards", logs=tmp_path) as world:
        spec = PackSpec("P1", n_cells=14, rated_ah=50.0, tcp_port=port)
        pack = world.add_pack(spec)
        world.start()
        world.run(until_s=30.0)
        assert world.truth(pack)["charge_fet"]
        assert world.truth(pack)["discharge_fet"]
        assert f"\ntcp {port}\n" in (tmp_path / "P1.log").read_text()
        block = RegisterMap(14).block(models.SNAPSHOT)
        request = struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, block.address, block.layout.words)
        with connected(port) as sock:
            sock.sendall(request)
            world.run(until_s=31.0)
            answer = sock.recv(1024)
    assert answer[:2] == b"\x00\x07"
    seen = block.layout.decode(answer[9:])
    assert [cell["V"] for cell in seen["cells"]] == pytest.approx(
        world.truth(pack)["cell_v"], abs=0.006
    )
    assert seen["St"] == State.ON


@pytest.mark.parametrize("n_cells", [16, 30, 72])
def test_measuring_and_serving_allocate_nothing(
    tmp_path: Path, board_micropython: str, n_cells: int
) -> None:
    printed = lines(board_micropython, "app_without_allocation.py", tmp_path, str(n_cells))
    took = {name: int(n) for name, n in map(str.split, printed)}
    assert took.pop("answers") > 200
    still = {"measure", "guard", "balance", "test", "serve", "settings", "update", "keep"}
    assert {name for name, n in took.items() if n == 0} == still
    # Floats are objects. What a cycle leaves behind is collected at its end.
    # These cycles have one look into a rest in them, which tells every cell's SOC.
    assert took["estimate"] + took["image"] < 100 * 2200 * n_cells // 16


# --- precharge ----------------------------------------------------------------------------------


def precharging(tmp_path: Path, **spec: object) -> Rig:
    rig = Rig(tmp_path, **{"terminals_uf": 5000.0, "settings": {"precharge_ms": 3000}, **spec})
    seen = set()
    for _ in range(10):
        rig.run(0.5)
        seen.add(rig.app.protection.state)
    assert State.PRECHARGE in seen
    return rig


def test_an_inverter_is_charged_through_a_resistor_before_the_switches_close(
    tmp_path: Path,
) -> None:
    rig = precharging(tmp_path)
    rig.run(5)
    assert rig.closed == (True, True)
    assert rig.app.protection.state == State.ON
    assert rig.app.protection.n_faults == 0
    assert rig.pack.pack_v == pytest.approx(float(rig.pack.cell_v.sum()), abs=0.1)


def test_a_load_that_was_left_on_is_not_closed_onto(tmp_path: Path) -> None:
    rig = precharging(tmp_path, leak_ohm=50.0)
    for _ in range(120):
        rig.run(0.5)
        assert not rig.closed[1]
    assert fault_names(rig.app.protection.latched) == ["PRECHARGE_FAILED"]
    assert rig.app.protection.state == State.CHARGE_ONLY
    rig.boot()
    rig.run(10)
    assert rig.closed == (True, False), "the latch survives"
    rig.pack.spec.leak_ohm = math.inf
    assert rig.command(Command.CLEAR_LATCHED) == CommandResult.DONE
    rig.run(6)
    assert rig.closed == (True, True)


def test_a_terminal_that_never_loses_its_voltage_needs_no_precharge(tmp_path: Path) -> None:
    rig = precharging(tmp_path)
    rig.run(5)
    assert rig.command(Command.DISCONNECT) == CommandResult.DONE
    rig.run(2)
    assert rig.closed == (False, False)
    assert rig.command(Command.CONNECT) == CommandResult.DONE
    rig.run(1.5)
    assert rig.closed == (True, True)


def test_a_pack_in_service_stays_open_over_a_restart_until_it_is_left(rig: Rig) -> None:
    assert rig.command(Command.SERVICE) == CommandResult.DONE
    rig.run(2)
    rig.boot()
    rig.run(10)
    assert rig.closed == (False, False)
    assert rig.snapshot()["St"] == State.SERVICE
    assert rig.command(Command.CONNECT) == CommandResult.REFUSED_UNSAFE
    assert rig.command(Command.DISCONNECT) == CommandResult.DONE
    rig.run(2)
    assert rig.command(Command.CONNECT) == CommandResult.DONE
    rig.run(2)
    assert rig.closed == (True, True)


def test_a_host_asks_when_a_fault_came_and_how_often(rig: Rig) -> None:
    for _ in range(2):
        rig.chip.power_on_reset()
        rig.run(15)
    rig.write(models.CONTROL, "FltSel", Fault.AFE_RESET)
    told = rig.read(models.FAULTS)
    assert told["FltN"] == 2
    assert told["LstSeq"] - told["FstSeq"] >= 10
    rig.write(models.CONTROL, "FltSel", Fault.OPEN_WIRE)
    told = rig.read(models.FAULTS)
    assert (told["FltN"], told["FstSeq"], told["LstSeq"]) == (0, None, None)


@pytest.mark.parametrize("task", ["measure", "guard"])
def test_a_fault_is_taken_down_after_its_switch_was_told_to_open(rig: Rig, task: str) -> None:
    rig.run(8)
    order: list[str] = []
    app = rig.app
    taken, told = app.faults.take, app.measurement.set_switches
    app.faults.take = lambda *given: (order.append("taken"), taken(*given))
    app.measurement.set_switches = lambda allowed: (order.append("told"), told(allowed))[1]
    app.protection.tripped = 1 << Fault.STORAGE  # as if it had come now
    app.measurement.commanded = None
    (entry,) = [entry for entry in app.executive.tasks if entry.name == task]
    entry.function()
    assert order == ["told", "taken"]
    assert app.protection.tripped == 0


def test_a_fault_is_remembered_over_restarts_and_no_command_erases_it(rig: Rig) -> None:
    rig.run(10)
    rig.chip.power_on_reset()
    rig.run(15)
    rig.write(models.CONTROL, "FltSel", Fault.AFE_RESET)
    before = rig.read(models.FAULTS)
    assert (before["FltN"], before["Unsvd"], before["FstBoot"]) == (1, 0, 1)
    rig.command(Command.CLEAR_LATCHED)
    rig.run(2)
    rig.boot()
    rig.run(5)
    rig.write(models.CONTROL, "FltSel", Fault.AFE_RESET)
    after = rig.read(models.FAULTS)
    kept = list(before)[list(before).index("FltNo") : list(before).index("SeqEnd")]
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert after["Boot"] == 2
