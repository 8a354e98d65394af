"""What is published of a block: SI, the unit in the key, unknown as null."""

import json
import re

import pytest
from gateway_fakes import FakePack

from common import codes, models
from common.codes import Cause, Mode, Task
from common.registers import Layout, RegisterMap
from gateway import reading_keys
from gateway.reading import (
    commanded_test,
    detail_message,
    encode,
    faults_message,
    iso_time,
    state_message,
)

STATE_KEYS = set(
    """serial boot seq uptime_s utc time_quality gateway_time recalled pack_voltage_v
    stack_voltage_v current_a power_w soc_pct soc_low_pct soc_high_pct soc_sync soc_age_s soh_pct
    soh_low_pct soh_high_pct soh_method soh_age_s cell_voltages_v cell_min_v cell_max_v
    cell_min_number cell_max_number temperatures_c fet_temperature_c afe_temperature_c state
    switches faults latched balancing""".split()  # noqa: SIM905 - read as a list of words
)


def state_of(pack):
    block = pack.map.block(models.SNAPSHOT)
    return state_message(
        pack.serial, block.layout.decode(block.bytes()), 1_790_000_000.25, recalled=False
    )


@pytest.fixture
def pack():
    fake = FakePack(n_cells=4)
    fake.measure()
    return fake


def test_the_state_has_the_keys_that_are_documented(pack):
    assert set(state_of(pack)) == STATE_KEYS


def test_the_table_in_the_documentation_has_these_keys(root):
    text = (root / "docs" / "gateway.md").read_text(encoding="utf-8")
    section = text.split("## `state`")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert set(re.findall("`(\\w+)`", "".join(rows))) == STATE_KEYS


def test_what_the_documentation_says_of_the_detail_is_there(root, pack):
    blocks = {
        block.layout.id: block.layout.decode(block.bytes())
        for block in pack.map.blocks
        if block.layout.id in models.OURS
    }
    detail = detail_message(pack.serial, blocks, 0.0)
    text = (root / "docs" / "gateway.md").read_text(encoding="utf-8")
    section = text.split("## `detail`")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) > 8
    for row in rows:
        part, stem = "", ""
        for told in re.findall("`([^`]+)`", row):
            if told[0] == "_":  # goes on from the first name of its row
                key = stem + told
            elif told[0] == ".":
                key = told[1:]
            else:
                part, _, key = told.partition(".")
                stem = re.sub("_(pct|a|pct_per_month)$", "", key)
            table = detail[part]["cells"][0] if "[]" in key else detail[part]
            assert key.removeprefix("cells[].") in table, (part, key)


def test_numbers_are_in_si_and_codes_have_names(pack):
    block = pack.map.block(models.SNAPSHOT)
    for name, value in {
        "V": 13_200, "A": -1500, "Soc": 5025, "SocSync": codes.SocSync.OCV_REST, "Tmp1": 251,
        "UpS": 61, "UpMs": 250, "TQual": codes.TimeQuality.GATEWAY, "Utc": 1_790_000_000,
        "Sw": codes.Switch.CHARGE | codes.Switch.DISCHARGE, "Bal": 0b1010,
        "Flt": 1 << codes.Fault.CELL_UNDER_VOLTAGE,
    }.items():  # fmt: skip
        block.set(name, value)
    for n, cell_mv in enumerate((3301, 3299, 3300, 3302)):
        block.set_cell("V", n, cell_mv)
    state = state_of(pack)
    assert (state["pack_voltage_v"], state["current_a"], state["power_w"]) == (13.2, -1.5, -19.8)
    assert (state["soc_pct"], state["soc_sync"]) == (50.25, "ocv_rest")
    assert (state["uptime_s"], state["utc"]) == (61.25, "2026-09-21T14:13:20.000Z")
    assert (state["cell_min_v"], state["cell_min_number"]) == (3.299, 2)
    assert (state["cell_max_v"], state["cell_max_number"]) == (3.302, 4)
    assert state["temperatures_c"] == [25.1, None, None, None]
    assert state["switches"] == ["charge", "discharge"]
    assert state["balancing"] == [2, 4]
    assert state["faults"] == ["cell_under_voltage"]


def test_nothing_measured_means_nothing_but_null():
    block = RegisterMap(4).block(models.SNAPSHOT)
    block.set("Seq", 1)
    state = state_message("EB-1", block.layout.decode(block.bytes()), 0.0, recalled=False)
    known = {"serial", "seq", "gateway_time", "recalled", "cell_voltages_v", "temperatures_c"}
    assert {k for k, v in state.items() if v is not None} == known
    assert state["cell_voltages_v"] == [None] * 4


def test_one_unknown_cell_makes_the_extremes_unknown(pack):
    pack.map.block(models.SNAPSHOT).set_cell("V", 2, None)
    state = state_of(pack)
    assert state["cell_min_v"] is state["cell_max_number"] is None


def test_a_time_nobody_set_is_no_time(pack):
    pack.map.block(models.SNAPSHOT).set("Utc", 1000)
    assert state_of(pack)["utc"] is None
    assert state_of(pack)["time_quality"] == "none"


def test_a_code_from_a_newer_board_keeps_its_number(pack):
    pack.map.block(models.SNAPSHOT).set("St", 99)
    assert state_of(pack)["state"] == "unknown_99"


def test_the_detail_names_every_cell_and_block(pack):
    blocks = {}
    device = pack.map.block(models.DEVICE)
    device.set("Mode", Mode.SAFE)
    device.set("TskOff", 1 << Task.ESTIMATE | 1 << Task.TEST)
    device.set("CrashWhy", Cause.WATCHDOG)
    for model_id in models.OURS:
        block = pack.map.block(model_id)
        blocks[model_id] = block.layout.decode(block.bytes())
    detail = detail_message(pack.serial, blocks, 0.0)
    assert (detail["serial"], detail["boot"], detail["seq"]) == ("EB-1", 1, 1)
    assert [cell["number"] for cell in detail["health"]["cells"]] == [1, 2, 3, 4]
    assert detail["health"]["cells"][2]["soh_pct"] == pack.detail_figure("health", 2) / 100
    assert detail["health"]["refusal"] is None
    energy, test = detail["energy"], detail["test"]
    assert energy["cells"][3]["bled_ah"] == pack.detail_figure("energy", 3) / 1000
    assert test["left_s"] == pack.detail_figure("test")
    assert detail["settings"]["failed_try_count"] == pack.detail_figure("settings")
    assert detail["settings"]["last_failed_try_utc"] is None
    assert [cell["number"] for cell in test["result"]["cells"]] == [1, 2, 3, 4]
    assert detail["lifetime"]["charged_ah"] == pack.detail_figure("lifetime") / 10
    assert len(detail["lifetime"]["soc_histogram_min"]) == models.N_SOC_BINS
    assert detail["device"]["record_every"] == 10
    assert detail["device"]["mode"] == "safe"
    assert detail["device"]["tasks_off"] == ["estimate", "test"]
    assert detail["device"]["crash_cause"] == "watchdog"
    assert detail["device"]["crash_task"] is None
    json.loads(encode(detail))


@pytest.mark.parametrize(
    ("model_id", "table"),
    [
        (models.HEALTH, reading_keys.HEALTH),
        (models.LIFETIME, reading_keys.LIFETIME),
        (models.PROTECTION, reading_keys.PROTECTION),
        (models.DEVICE, reading_keys.DEVICE),
        (models.ENERGY, reading_keys.ENERGY),
        (models.TEST, reading_keys.TEST),
        (models.TEST, reading_keys.TEST_RESULT),
        (models.SETTINGS, reading_keys.SETTINGS),
        (models.HISTORY, reading_keys.HISTORY),
        (models.SNAPSHOT, reading_keys.STATE),
    ],
)
def test_every_key_stands_for_a_point_and_none_stands_twice(model_id, table):
    assert set(table) <= set(Layout(model_id, 1).index)
    assert len(set(table.values())) == len(table)


def test_every_point_of_energy_and_test_is_published():
    frame = {"ID", "L", "SnCrc", "SnEnd", "Seq", "SeqEnd", "Boot", "NCell"}
    for model_id, tables, cell_table in (
        (models.ENERGY, (reading_keys.ENERGY,), reading_keys.ENERGY_CELL),
        (
            models.TEST,
            (
                reading_keys.TEST,
                reading_keys.TEST_ENDED,
                reading_keys.TEST_RESULT,
                {"ResUtc": "utc", "EndUtc": "utc"},
            ),
            reading_keys.TEST_CELL,
        ),
    ):
        layout = Layout(model_id, 1)
        assert set().union(*tables) == set(layout.index) - frame
        assert set(cell_table) == set(layout.cell_index)


def test_a_test_under_way_and_the_result_of_the_last_one_have_their_names(pack):
    block = pack.map.block(models.TEST)
    for name, value in {
        "Tst": codes.Test.FULL, "TstPh": codes.TestPhase.CHARGING, "TstStop": 0, "Stp": 2,
        "NStp": 5, "Elap": 60, "Left": 7200, "ResTst": codes.Test.QUICK,
        "ResMth": codes.Method.PULSE_TEST, "ResRef": 0,
        "EndTst": codes.Test.FULL, "EndStop": codes.TestStop.NO_CURRENT, "EndUtc": 1_790_000_060,
        "ResUtc": 1_790_000_000, "ResTmp": 251, "RteC": 15000, "MdlCrc": 7,
    }.items():  # fmt: skip
        block.set(name, value)
    block.set_cell("R", 1, 250)
    block.set_cell("Ref", 1, codes.Refusal.UNLIKE)
    test = commanded_test(block.layout.decode(block.bytes()))
    assert (test["test"], test["phase"], test["step"], test["step_count"]) == (
        "full", "charging", 2, 5,
    )  # fmt: skip
    assert test["ended"] == {
        "utc": "2026-09-21T14:14:20.000Z", "test": "full", "stop_reason": "no_current",
        "boot": None, "uptime_s": None,
    }  # fmt: skip
    result = test["result"]
    assert result["test"] == "quick"
    assert (result["soh_method"], result["utc"]) == ("pulse_test", "2026-09-21T14:13:20.000Z")
    assert (result["temperature_c"], result["current_of_rated_pct"]) == (25.1, 150.0)
    assert result["cells"][1]["resistance_ohm"] == 0.0025
    assert result["cells"][1]["refusal"] == "unlike"
    assert result["cells"][0]["refusal"] is None


def test_times_are_iso_in_utc():
    assert iso_time(0.25) == "1970-01-01T00:00:00.250Z"
    assert iso_time(None) is None


def test_a_fault_is_told_in_its_units_with_what_is_unknown_as_null():
    block = RegisterMap(4).block(models.FAULTS)
    for name, value in {
        "Boot": 3, "Seq": 9, "SeqEnd": 9, "NFlt": 5, "Ever": 1 << 7 | 1 << 15, "Unsvd": 1 << 7,
        "FltNo": 7, "FltN": 4, "FstBoot": 1, "FstSeq": 8, "FstTQ": 0, "FstUtc": 5, "LstBoot": 3,
        "LstSeq": 2, "LstTQ": 1, "LstUtc": 1795000000, "Val": -12, "Lim": 0, "V": 14000,
        "Sw": 3, "SwOff": 1, "St": 5, "Flt": 1 << 7,
    }.items():  # fmt: skip
        block.set(name, value)
    cold = block.layout.decode(block.bytes())
    block.set("FltNo", 15)
    block.set("Val", 0x1040)
    block.set("Lim", None)
    chip = block.layout.decode(block.bytes())
    message = faults_message("P", [cold, chip], 0.0)
    assert (message["serial"], message["boot"], message["seq"]) == ("P", 3, 9)
    assert message["event_count"] == 5
    first, second = message["faults"]
    assert first["fault"] == "charge_under_temperature"
    assert (first["value"], first["limit"], first["unit"]) == (-1.2, 0.0, "C")
    assert (first["count"], first["saved"], second["saved"]) == (4, False, True)
    assert (first["first_boot"], first["first_seq"], first["first_utc"]) == (1, 8, None)
    assert first["first_time_quality"] == "none"
    assert (first["last_boot"], first["last_seq"]) == (3, 2)
    assert first["last_utc"] == "2026-11-18T11:06:40.000Z"
    assert (first["pack_voltage_v"], first["current_a"]) == (14.0, None)
    assert (first["switches"], first["switches_opened"]) == (["charge", "discharge"], ["charge"])
    assert (first["state"], first["faults"]) == ("discharge_only", ["charge_under_temperature"])
    assert second["fault"] == "afe_protection"
    assert (second["value"], second["limit"], second["unit"]) == (0x1040, None, None)
