"""The register image: every figure stands where SunSpec and our own models say, or is unknown."""

import select
import socket
import sys
import threading
from collections.abc import Generator
from types import SimpleNamespace
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from interpreters import lines
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from common import models
from common.codes import Fault, SocSync, State, Switch, TimeQuality
from common.decode import decode_raw
from firmware.image import Image
from firmware.image_sunspec import rounded, scale_factor, span
from firmware.modbus.pdu import Commands, PduServer
from firmware.modbus.tcp import TcpServer
from firmware.settings import MOST_MA, Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

N_CELLS = 16
SERIAL = "PACK-0001"
BOOT = 7
SCRIPT = "image_update.py"


class Pack:
    """An image and what it is told; ``update`` lets a second pass."""

    def __init__(self, pack: Settings | None = None, depth: int = 64) -> None:
        self.settings = pack or Settings(SERIAL, N_CELLS, "nmc", 40000, address=3)
        self.image = Image(self.settings, BOOT, 2, "0.1.0", "unix", "bq76952", depth)
        self.map = self.image.map
        self.snapshot = Snapshot(self.settings.n_cells)
        self.snapshot.valid = True
        self.snapshot.switches = Switch.CHARGE | Switch.DISCHARGE
        self.cells([3700] * self.settings.n_cells)
        self.protection = SimpleNamespace(
            active=0,
            latched=0,
            warned=0,
            allowed=3,
            connected=True,
            state=State.ON,
            ccl_ma=30000,
            dcl_ma=60000,
            cvl_mv=67200,
            ccl_why=0,
            dcl_why=1,
            cvl_why=0,
            n_faults=2,
            last_fault=Fault.CELL_UNDER_VOLTAGE,
            last_fault_s=33,
            last_fault_value=-5,
        )
        self.figures = SimpleNamespace(
            soc_bp=5123,
            soc_lo_bp=4900,
            soc_hi_bp=5300,
            soc_sync=SocSync.OCV_REST,
            soc_age_s=100,
            soh_bp=8150,
            soh_lo_bp=8000,
            soh_hi_bp=8300,
            soh_method=4,
            soh_age_s=200,
            fec_centi=12399,
            publish_health=lambda block: block.set("SohN", 3),
            publish_lifetime=lambda block: block.set("NDeep", 4),
            reckon=lambda: None,
            publish_energy=lambda block: block.set("SelfDis", 300),
        )
        task = SimpleNamespace(name="measure", longest_us=1234)
        self.executive = SimpleNamespace(tasks=[task], loop_us=2345, overruns=1)
        self.afe = SimpleNamespace(signature=0xCAFEBABE, errors=3)

    def cells(self, cell_mv: list[int]) -> None:
        s = self.snapshot
        for i, mv in enumerate(cell_mv):
            s.cell_mv[i] = mv
        s.sum_mv = sum(cell_mv)
        s.stack_mv = s.sum_mv + 7
        s.min_mv, s.max_mv = min(cell_mv), max(cell_mv)
        s.min_cell, s.max_cell = cell_mv.index(s.min_mv), cell_mv.index(s.max_mv)

    def sensors(self, *temp_dc: int) -> None:
        for i in range(4):
            self.snapshot.temp_dc[i] = temp_dc[i] if i < len(temp_dc) else UNKNOWN_DC

    def update(self, cycles: int = 1) -> None:
        for _ in range(cycles):
            self.snapshot.seq += 1
            self.snapshot.uptime_s += 1
            self.image.update(
                self.snapshot, self.protection, self.figures, self.executive, self.afe
            )

    def decode(self, model_id: int) -> dict:
        block = self.map.block(model_id)
        return block.layout.decode(block.bytes())


@pytest.fixture
def pack() -> Pack:
    made = Pack()
    made.sensors(150, 250, 350, 450)
    made.snapshot.current_ma = -12340
    return made


# --- an independent client -----------------------------------------------------------------


@pytest.fixture
def client(pack: Pack) -> Generator[SunSpecModbusClientDeviceTCP]:
    """``pysunspec2`` on the other side of a socket, the image updated once."""
    pack.cells([3700 + 10 * i for i in range(N_CELLS)])
    pack.snapshot.balancing = 1 << 15 | 1 << 3
    pack.update()
    poll = select.poll()
    server = TcpServer(PduServer(pack.map, Commands()), 3)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    server.listen("127.0.0.1", port, poll)
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            for key, _event in poll.poll(20):
                server.serve(key)

    thread = threading.Thread(target=serve)
    thread.start()
    device = SunSpecModbusClientDeviceTCP(3, "127.0.0.1", port, timeout=20)
    try:
        device.scan()
        yield device
        device.close()
    finally:
        done.set()
        thread.join()
        server.close()


def test_pysunspec2_finds_every_model(client: SunSpecModbusClientDeviceTCP) -> None:
    found = {number for number in client.models if isinstance(number, int)}
    assert found == {entry[0] for entry in models.MODELS}


def test_pysunspec2_reads_the_common_model(client: SunSpecModbusClientDeviceTCP) -> None:
    common = client.models[1][0]
    assert common.Mn.cvalue == "Echelon"
    assert common.Md.cvalue == "Pack 16S nmc"
    assert common.Opt.cvalue == "bq76952"
    assert common.Vr.cvalue == "0.1.0"
    assert common.SN.cvalue == SERIAL
    assert common.DA.cvalue == 3


def test_pysunspec2_reads_the_battery_model(
    client: SunSpecModbusClientDeviceTCP, pack: Pack
) -> None:
    battery = client.models[802][0]
    total_v = sum(3.7 + 0.01 * i for i in range(N_CELLS))
    expected = {
        "AHRtg": 40,
        "SoC": 51.23,
        "DoD": 48.77,
        "SoH": 81.5,
        "NCyc": 123,
        "ChaSt": 3,
        "LocRemCtl": 1,
        "Hb": 1,
        "AlmRst": 0,
        "Typ": 4,
        "State": 3,
        "StateVnd": State.ON,
        "WarrDt": None,
        "Evt1": 0,
        "Evt2": 0,
        "V": pytest.approx(total_v, abs=0.005),
        "VMax": 67.2,
        "CellVMax": 3.85,
        "CellVMaxStr": 1,
        "CellVMaxMod": 1,
        "CellVMin": 3.7,
        "CellVAvg": 3.775,
        "A": -12.34,
        "AChaMax": 30,
        "ADisChaMax": 60,
        "W": pytest.approx(-12.34 * total_v, abs=0.5),
        "SetOp": 1,
        "SetInvState": None,
        "DisChaRte": pytest.approx(0.1),
    }
    assert {name: getattr(battery, name).cvalue for name in expected} == expected


def test_no_mandatory_point_of_802_is_unknown_but_the_inverter_we_do_not_have(
    client: SunSpecModbusClientDeviceTCP,
) -> None:
    battery = client.models[802][0]
    unknown = {
        name
        for name, point in battery.points.items()
        if point.pdef.get("mandatory") == "M" and point.value is None
    }
    assert unknown == {"SetInvState"}


def test_pysunspec2_reads_the_module_model(client: SunSpecModbusClientDeviceTCP) -> None:
    module = client.models[805][0]
    expected = {
        "StrIdx": 1,
        "ModIdx": 1,
        "NCell": N_CELLS,
        "SoC": 51.23,
        "SoH": 81.5,
        "NCyc": 123,
        "V": 60.4,
        "CellVMax": 3.85,
        "CellVMaxCell": 16,
        "CellVMin": 3.7,
        "CellVMinCell": 1,
        "CellVAvg": 3.775,
        "CellTmpMax": 45.0,
        "CellTmpMaxCell": 13,
        "CellTmpMin": 15.0,
        "CellTmpMinCell": 1,
        "CellTmpAvg": 30.0,
        "NCellBal": 2,
        "SN": SERIAL,
    }
    assert {name: getattr(module, name).cvalue for name in expected} == expected
    cells = module.groups["lithium-ion-module-cell"]
    assert [cell.CellV.value for cell in cells] == [3700 + 10 * i for i in range(N_CELLS)]
    temperatures = [150] * 4 + [250] * 4 + [350] * 4 + [450] * 4
    assert [cell.CellTmp.value for cell in cells] == temperatures
    assert [i for i, cell in enumerate(cells) if cell.CellSt.value] == [3, 15]


# --- 802 and 805 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "active", "expected"),
    [
        (State.START, 0, 2),
        (State.STANDBY, 0, 1),
        (State.ON, 0, 3),
        (State.CHARGE_ONLY, 1 << Fault.CELL_UNDER_VOLTAGE, 5),
        (State.DISCHARGE_ONLY, 1 << Fault.CELL_OVER_VOLTAGE, 5),
        (State.DISCHARGE_ONLY, 1 << Fault.CHARGE_UNDER_TEMPERATURE, 3),
        (State.BLOCKED, 1 << Fault.STACK_MISMATCH, 99),
        (State.FAULT, 0, 99),
        (State.SERVICE, 0, 4),
    ],
)
def test_the_state_is_told_in_sunspec_s_words(
    pack: Pack, state: int, active: int, expected: int
) -> None:
    pack.protection.state = state
    pack.protection.active = active
    pack.update()
    assert pack.decode(models.BATTERY)["State"] == expected
    assert pack.decode(models.BATTERY)["StateVnd"] == state


def test_every_fault_raises_an_event(pack: Pack) -> None:
    names = [name for name in dir(Fault) if name[0] != "_"]
    for name in names:
        pack.protection.active = 1 << getattr(Fault, name)
        pack.update()
        assert pack.decode(models.BATTERY)["Evt1"], name


def test_a_latched_fault_stays_an_alarm(pack: Pack) -> None:
    pack.protection.latched = 1 << Fault.CELL_OVER_VOLTAGE
    pack.update()
    battery = pack.decode(models.BATTERY)
    assert battery["Evt1"] == 1 << 9
    assert (battery["EvtVnd1"], battery["EvtVnd2"]) == (0, 1 << Fault.CELL_OVER_VOLTAGE)


@pytest.mark.parametrize(
    ("switches", "current_ma", "soc_bp", "expected"),
    [
        (0, 0, 5000, 1),
        (3, 5000, 5000, 4),
        (3, -5000, 5000, 3),
        (3, 0, 5000, 6),
        (3, 0, 9950, 5),
        (3, 0, 50, 2),
        (3, 0, None, 6),
    ],
)
def test_the_charge_status_is_seen_from_current_switches_and_soc(
    pack: Pack, switches: int, current_ma: int, soc_bp: int | None, expected: int
) -> None:
    pack.snapshot.switches = switches
    pack.snapshot.current_ma = current_ma
    pack.figures.soc_bp = soc_bp
    pack.update()
    assert pack.decode(models.BATTERY)["ChaSt"] == expected


def test_a_disconnected_pack_shows_the_operation_it_was_told(pack: Pack) -> None:
    pack.protection.connected = False
    pack.update()
    assert pack.decode(models.BATTERY)["SetOp"] == 2


def test_one_sensor_stands_for_all_cells(pack: Pack) -> None:
    pack.sensors(231)
    pack.update()
    assert {cell["CellTmp"] for cell in pack.decode(models.MODULE)["cells"]} == {23.1}


def test_a_sensor_that_fails_does_not_move_the_others_cells(pack: Pack) -> None:
    pack.update()
    pack.sensors(150, 250, 350)
    pack.update()
    temperatures = [cell["CellTmp"] for cell in pack.decode(models.MODULE)["cells"]]
    assert temperatures == [15.0] * 4 + [25.0] * 4 + [35.0] * 4 + [None] * 4
    assert pack.decode(models.MODULE)["CellTmpMax"] == 35.0


def test_a_pack_without_sensors_has_no_temperature(pack: Pack) -> None:
    pack.sensors()
    pack.update()
    module = pack.decode(models.MODULE)
    for name in ("CellTmpMax", "CellTmpMaxCell", "CellTmpMin", "CellTmpMinCell", "CellTmpAvg"):
        assert module[name] is None


PACKS = st.builds(
    lambda n, profile, rated: Settings(SERIAL, n, profile, rated),
    st.integers(3, 16),
    st.sampled_from(["nmc", "lfp"]),
    st.integers(100, 1_000_000),
)


@examples(max_examples=60, deadline=None)
@given(PACKS, st.floats(-2, 2), st.floats(0.6, 1))
def test_no_pack_is_too_large_or_small_for_its_scale_factors(
    settings: Settings, rate: float, fill: float
) -> None:
    pack = Pack(settings)
    ma = int(rate * max(settings.occ_ma, settings.ocd_ma))
    pack.snapshot.current_ma = ma
    pack.cells([int(settings.cov_mv * fill)] * settings.n_cells)
    pack.protection.ccl_ma = settings.occ_ma
    pack.update()
    battery = pack.decode(models.BATTERY)
    block = pack.map.block(models.BATTERY)
    raw, _cells = decode_raw(block.layout, block.bytes())
    resolution = {sf: 10.0 ** raw[sf] for sf in raw if sf.endswith("_SF") and raw[sf] is not None}
    watts = pack.snapshot.sum_mv * ma / 1e6
    limit = resolution["AMax_SF"]
    assert battery["A"] == pytest.approx(ma / 1000, abs=0.51 * resolution["A_SF"])
    assert battery["V"] == pytest.approx(
        pack.snapshot.sum_mv / 1000, abs=0.51 * resolution["V_SF"]
    )
    assert battery["W"] == pytest.approx(watts, abs=1.01 * resolution["W_SF"])
    assert settings.occ_ma / 1000 - limit <= battery["AChaMax"] <= settings.occ_ma / 1000
    assert battery["AHRtg"] == pytest.approx(settings.rated_mah / 1000, rel=1e-3)
    assert battery["WHRtg"] > 0
    assert battery["WChaRteMax"] > 0


def test_a_current_beyond_the_register_is_unknown_and_not_wrong(pack: Pack) -> None:
    pack.snapshot.current_ma = 10 * pack.settings.ocd_ma
    pack.update()
    battery = pack.decode(models.BATTERY)
    assert battery["A"] is None
    assert battery["W"] is None
    assert pack.decode(models.SNAPSHOT)["A"] == 10 * pack.settings.ocd_ma / 1000


# --- our own models --------------------------------------------------------------------------


def test_the_snapshot_says_whose_and_when_it_is(pack: Pack) -> None:
    pack.image.set_utc(1_800_000_000, 0)
    pack.snapshot.uptime_ms = 250
    pack.update()
    snapshot = pack.decode(models.SNAPSHOT)
    assert snapshot["SnCrc"] == crc32(SERIAL.encode())
    assert (snapshot["Seq"], snapshot["SeqEnd"], snapshot["Boot"]) == (1, 1, BOOT)
    assert (snapshot["UpS"], snapshot["UpMs"]) == (1, 250)
    assert (snapshot["Utc"], snapshot["TQual"]) == (1_800_000_001, TimeQuality.GATEWAY)


def test_the_time_is_unknown_until_it_is_set(pack: Pack) -> None:
    pack.update()
    snapshot = pack.decode(models.SNAPSHOT)
    assert (snapshot["Utc"], snapshot["TQual"]) == (None, TimeQuality.NONE)


def test_the_time_goes_on_across_its_lower_half(pack: Pack) -> None:
    pack.image.set_utc(0x6B49_FFFF, 0)
    pack.update()
    assert pack.decode(models.SNAPSHOT)["Utc"] == 0x6B4A_0000


def test_the_snapshot_carries_what_was_measured_and_estimated(pack: Pack) -> None:
    pack.snapshot.fet_dc = 311
    pack.snapshot.balancing = 1 << 15
    pack.protection.active, pack.protection.latched = 5, 4
    pack.update()
    snapshot = pack.decode(models.SNAPSHOT)
    expected = {
        "St": State.ON,
        "Sw": 3,
        "Flt": 5,
        "Ltc": 4,
        "Bal": 1 << 15,
        "NCell": N_CELLS,
        "V": 59.2,
        "VStk": 59.207,
        "A": -12.34,
        "Soc": 51.23,
        "SocLo": 49.0,
        "SocHi": 53.0,
        "SocSync": SocSync.OCV_REST,
        "SocAge": 100,
        "Soh": 81.5,
        "SohLo": 80.0,
        "SohHi": 83.0,
        "SohMth": 4,
        "SohAge": 200,
        "Tmp1": 15.0,
        "Tmp4": 45.0,
        "TmpFet": 31.1,
        "TmpAfe": None,
    }
    assert {name: snapshot[name] for name in expected} == expected
    assert [cell["V"] for cell in snapshot["cells"]] == [3.7] * N_CELLS


@given(st.integers(3, 72), st.data())
@examples(max_examples=60, deadline=None)
def test_every_cell_that_is_bled_has_its_bit(n_cells: int, data: st.DataObject) -> None:
    pack = Pack(Settings(SERIAL, n_cells, "nmc", 40000), depth=1)
    bled = data.draw(st.sets(st.integers(0, n_cells - 1), max_size=8))
    pack.snapshot.balancing = sum(1 << cell for cell in bled)
    pack.update()
    snapshot = pack.decode(models.SNAPSHOT)
    mask = snapshot["Bal"] | snapshot["Bal2"] << 32 | snapshot["Bal3"] << 64
    assert mask == pack.snapshot.balancing
    module = pack.decode(models.MODULE)
    assert [cell["CellSt"] for cell in module["cells"]] == [i in bled for i in range(n_cells)]
    assert module["NCellBal"] == len(bled)


def test_a_pack_of_72_cells_has_every_figure_within_its_register() -> None:
    pack = Pack(Settings(SERIAL, 72, "nmc", 300000), depth=1)
    assert pack.settings.occ_ma == MOST_MA
    pack.protection.cvl_mv = 72 * 4200
    for current_ma in (-2 * MOST_MA, 2 * MOST_MA):
        pack.snapshot.current_ma = current_ma
        pack.cells([4250] * 71 + [4249])
        pack.update()
        battery = pack.decode(models.BATTERY)
        assert battery["V"] == battery["VMax"] + 3.6 == pytest.approx(306.0, abs=0.01)
        assert battery["VMin"] == pytest.approx(72 * pack.settings.cuv_mv / 1000, abs=0.01)
        assert battery["A"] == current_ma / 1000
        assert battery["W"] == pytest.approx(305.999 * current_ma / 1000, rel=1e-3)
        assert battery["WHRtg"] == pytest.approx(72 * 3.7 * 300, rel=0.05)
        assert battery["WChaRteMax"] == pytest.approx(72 * 3.7 * 300, rel=0.05)
        module = pack.decode(models.MODULE)
        assert (module["V"], module["NCell"]) == (battery["V"], 72)
        assert (module["CellVMinCell"], module["CellVMin"]) == (72, 4.249)
        snapshot = pack.decode(models.SNAPSHOT)
        assert (snapshot["V"], snapshot["A"]) == (305.999, current_ma / 1000)
        assert pack.decode(models.PROTECTION)["Cvl"] == 302.4


def test_figures_without_evidence_are_unknown(pack: Pack) -> None:
    for name in ("soc_bp", "soc_lo_bp", "soc_hi_bp", "soc_age_s", "soh_bp", "soh_age_s"):
        setattr(pack.figures, name, None)
    pack.figures.fec_centi = None
    pack.update()
    snapshot = pack.decode(models.SNAPSHOT)
    assert [snapshot[name] for name in ("Soc", "SocLo", "SocHi", "SocAge", "Soh", "SohAge")] == [
        None
    ] * 6
    battery = pack.decode(models.BATTERY)
    assert [battery[name] for name in ("SoC", "DoD", "SoH", "NCyc")] == [None] * 4


def test_a_cycle_that_was_not_measured_shows_no_old_figures(pack: Pack) -> None:
    pack.update()
    pack.snapshot.valid = False
    pack.update()
    snapshot = pack.decode(models.SNAPSHOT)
    assert snapshot["Seq"] == 2
    for name in ("V", "VStk", "A", "Sw", "Bal", "Bal2", "Bal3", "Tmp1", "TmpFet"):
        assert snapshot[name] is None, name
    assert [cell["V"] for cell in snapshot["cells"]] == [None] * N_CELLS
    battery = pack.decode(models.BATTERY)
    for name in ("V", "A", "W", "CellVMax", "CellVMin", "CellVAvg", "CellVMaxMod", "ChaSt"):
        assert battery[name] is None, name
    module = pack.decode(models.MODULE)
    for name in ("V", "CellVMaxCell", "CellTmpAvg", "NCellBal"):
        assert module[name] is None, name
    assert {cell["CellV"] for cell in module["cells"]} == {None}
    assert {cell["CellSt"] for cell in module["cells"]} == {None}


def test_the_protection_model_tells_limits_and_the_last_fault(pack: Pack) -> None:
    pack.snapshot.afe_safety, pack.snapshot.afe_failed = 0x0400, 0x80000001
    pack.update()
    protection = pack.decode(models.PROTECTION)
    expected = {
        "Seq": 1,
        "SeqEnd": 1,
        "AfeSta": 0x0400,
        "AfePf": 0x80000001,
        "Cov": 4.25,
        "Cuv": 2.8,
        "Cdd": 1.5,
        "Occ": 40.0,
        "Ocd": 80.0,
        "Otc": 45.0,
        "Utd": -20.0,
        "Otf": 90.0,
        "Ccl": 30.0,
        "Dcl": 60.0,
        "Cvl": 67.2,
        "DclWhy": 1,
        "NFlt": 2,
        "LastFlt": Fault.CELL_UNDER_VOLTAGE,
        "LastFltS": 33,
        "LastFltV": -5,
    }
    assert {name: protection[name] for name in expected} == expected


def test_the_device_model_tells_what_runs_and_how_it_fares(pack: Pack) -> None:
    pack.image.server = PduServer(pack.map, Commands())
    pack.image.server.server_messages = 99
    pack.update(20)
    device = pack.decode(models.DEVICE)
    expected = {
        "Seq": 20,
        "SeqEnd": 20,
        "MapVer": models.MAP_VERSION,
        "ISign": 1,
        "Boot": BOOT,
        "UpS": 20,
        "RstCause": 2,
        "Fw": "0.1.0",
        "Brd": "unix",
        "Afe": "bq76952",
        "CfgCrc": pack.settings.config_crc,
        "AfeSig": 0xCAFEBABE,
        "MeasUs": 1234,
        "LoopUs": 2345,
        "Overrun": 1,
        "AfeErr": 3,
        "RxOk": 99,
        "RxBad": 0,
        "RecEvery": 10,
        "RecDepth": 64,
        "RecFirst": 10,
        "RecLast": 20,
    }
    assert {name: device[name] for name in expected} == expected


def test_what_changes_slowly_is_there_at_once_and_stamped_with_its_cycle(pack: Pack) -> None:
    pack.update()
    assert pack.decode(models.HEALTH)["Seq"] == 1
    assert pack.decode(models.LIFETIME)["Seq"] == 1
    pack.update(9)
    for model_id in (models.HEALTH, models.LIFETIME, models.DEVICE):
        block = pack.decode(model_id)
        assert block["SnCrc"] == crc32(SERIAL.encode())
        assert 1 < block["Seq"] == block["SeqEnd"]
    assert pack.decode(models.HEALTH)["Boot"] == BOOT
    assert pack.decode(models.LIFETIME)["NDeep"] == 4


# --- recall ----------------------------------------------------------------------------------


def test_the_energy_is_reckoned_in_the_cycle_before_it_is_written(pack: Pack) -> None:
    done: list[tuple[str, int]] = []
    pack.figures.reckon = lambda: done.append(("reckoned", pack.snapshot.seq))
    pack.figures.publish_energy = lambda _block: done.append(("written", pack.snapshot.seq))
    pack.update(29)
    assert done[0] == ("written", 1)
    assert done[1:] == [
        (what, ten + seq) for ten in (0, 10, 20) for what, seq in (("reckoned", 7), ("written", 8))
    ]


def test_a_kept_reading_is_recalled_as_it_was(pack: Pack) -> None:
    pack.update(10)
    kept = pack.decode(models.SNAPSHOT)
    pack.snapshot.current_ma = 1000
    pack.update(5)
    assert pack.image.recall(10)
    recalled = pack.decode(models.RECALL)
    assert recalled.pop("ID") == models.RECALL
    assert recalled == {name: value for name, value in kept.items() if name != "ID"}


@pytest.mark.parametrize("seq", [0, 7, 15, 30, 0xFFFFFFFF])
def test_a_reading_that_is_not_kept_is_unknown(pack: Pack, seq: int) -> None:
    pack.update(20)
    assert pack.image.recall(10)
    assert not pack.image.recall(seq)
    block = pack.map.block(models.RECALL)
    recalled, cells = decode_raw(block.layout, block.bytes())
    assert {cell["V"] for cell in cells} == {None}
    known = {name: value for name, value in recalled.items() if value is not None}
    asked = None if seq == 0xFFFFFFFF else seq
    assert (known.pop("Seq", None), known.pop("SeqEnd", None)) == (asked, asked)
    assert known == {
        "ID": models.RECALL,
        "L": block.layout.words - 2,
        "SnCrc": crc32(SERIAL.encode()),
        "NCell": N_CELLS,
    }


def test_the_oldest_reading_makes_room() -> None:
    pack = Pack(depth=3)
    pack.update(50)
    assert [seq for seq in range(60) if pack.image.recall(seq)] == [30, 40, 50]
    device = pack.decode(models.DEVICE)
    assert (device["RecFirst"], device["RecLast"]) == (30, 50)


# --- the small parts ---------------------------------------------------------------------------


def test_points_that_do_not_follow_each_other_are_no_span(pack: Pack) -> None:
    with pytest.raises(ValueError, match=r"V \.\.\. Seq"):
        span(pack.map.block(models.SNAPSHOT), "V", "Seq")


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_rounding_goes_to_the_nearest(value: int, divisor: int) -> None:
    assert abs(2 * (rounded(value, divisor) * divisor - value)) <= divisor
    assert rounded(-value, divisor) == -rounded(value, divisor)


@given(st.integers(0, 10**9))
def test_a_scale_factor_is_the_finest_that_fits(highest: int) -> None:
    power = scale_factor(highest, 32767)
    assert highest // 10 ** (power + 3) <= 32767
    assert power == -3 or highest // 10 ** (power + 2) > 32767


@pytest.mark.parametrize(
    ("n_cells", "bled"), [(16, 1 << 15), (30, 1 << 29 | 1 << 4), (72, 0), (72, 1 << 29 | 1)]
)
def test_micropython_writes_the_same_image_and_allocates_nothing(
    micropython: str, n_cells: int, bled: int
) -> None:
    image, allocated = lines(micropython, SCRIPT, str(n_cells), str(bled))
    assert [image] == lines(sys.executable, SCRIPT, str(n_cells), str(bled))
    assert allocated == "allocated 0"


@pytest.mark.parametrize("bled", [1 << 30, 1 << 31, 1 << 71 | 1 << 63 | 1 << 32 | 1 << 31 | 1])
def test_micropython_tells_which_cells_of_a_long_pack_are_bled(
    micropython: str, bled: int
) -> None:
    image, _allocated = lines(micropython, SCRIPT, "72", str(bled))
    assert [image] == lines(sys.executable, SCRIPT, "72", str(bled))
