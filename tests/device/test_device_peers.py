"""What independent Modbus and SunSpec clients read from the running firmware."""

import re
import shutil
import subprocess

import pytest
import sunspec2.modbus.client as sunspec
from sunspec2 import device as sunspec_device

from common import models

CELL_TOLERANCE_V = 0.006  # the chip's accuracy: offset, noise and 1 mV steps


@pytest.fixture(autouse=True)
def _our_definitions(root):
    known = sunspec_device.get_model_defs_path()
    sunspec_device.set_model_defs_path([*known, str(root / "common" / "sunspec")])
    yield
    sunspec_device.set_model_defs_path(known)


def scan_rtu(device):
    client = sunspec.SunSpecModbusClientDeviceRTU(
        device.address, name=device.port, baudrate=115200, timeout=10
    )
    client.scan()
    return client


def scan_tcp(device):
    if device.tcp_port is None:
        pytest.skip("this board has no network")
    client = sunspec.SunSpecModbusClientDeviceTCP(
        device.address, ipaddr="127.0.0.1", ipport=device.tcp_port, timeout=10
    )
    client.scan()
    return client


@pytest.mark.parametrize("scan", [scan_rtu, scan_tcp], ids=["rtu", "tcp"])
def test_pysunspec2_finds_every_model(device, scan):
    client = scan(device)
    try:
        found = [model.model_id for model in client.model_list]
        assert found == [entry[0] for entry in models.MODELS]
        ours = client.models[models.SNAPSHOT][0]
        assert ours.Seq.value == ours.groups["End"][0].SeqEnd.value > 0
    finally:
        client.close()


@pytest.mark.parametrize("scan", [scan_rtu, scan_tcp], ids=["rtu", "tcp"])
def test_every_cell_and_the_pack_read_as_they_are(device, scan):
    client = scan(device)
    try:
        battery = client.models[models.BATTERY][0]
        module = client.models[models.MODULE][0]
        snapshot = client.models[models.SNAPSHOT][0]
        truth = device.truth()
        cells = module.groups["lithium-ion-module-cell"]
        read = [cell.CellV.cvalue for cell in cells]
        assert read == pytest.approx(truth["cell_v"], abs=CELL_TOLERANCE_V)
        assert [cell.V.cvalue for cell in snapshot.groups["Cell"]] == pytest.approx(
            truth["cell_v"], abs=CELL_TOLERANCE_V
        )
        assert battery.V.cvalue == pytest.approx(truth["voltage_v"], abs=0.1)
        assert battery.A.cvalue == pytest.approx(truth["current_a"], abs=0.15)
        assert battery.CellVMin.cvalue == pytest.approx(min(truth["cell_v"]), abs=0.006)
        assert battery.CellVMax.cvalue == pytest.approx(max(truth["cell_v"]), abs=0.006)
        for cell, true_c in zip(cells, truth["cell_temperature_c"], strict=True):
            assert cell.CellTmp.cvalue == pytest.approx(true_c, abs=1.5)
        assert module.NCell.value == len(read) == 14
    finally:
        client.close()


def test_what_is_not_known_is_not_a_number(device):
    """A pack that has only rested has no evidence of its capacity."""
    device.truth()
    client = scan_rtu(device)
    try:
        health = client.models[models.HEALTH][0]
        assert health.Soh.value is None
        assert client.models[models.ENERGY][0].SelfDis.value is None
        assert client.models[models.BATTERY][0].SoH.value is None
    finally:
        client.close()


def mbpoll(device, *arguments):
    program = shutil.which("mbpoll")
    if not program:
        pytest.skip("no mbpoll (Debian: mbpoll)")
    command = [program, "-m", "rtu", "-a", str(device.address), "-b", "115200", "-P", "none"]
    command += ["-1", "-0", "-o", "2", *arguments[:-1], device.port]
    if arguments[-1]:
        command.append(arguments[-1])
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.peer
@pytest.mark.parametrize("table", ["3", "4"], ids=["input", "holding"])
def test_mbpoll_reads_the_beginning_of_the_map(device, table):
    answer = mbpoll(device, "-t", f"{table}:hex", "-r", "40000", "-c", "2", "")
    assert re.findall(r"0x[0-9A-F]{4}", answer.stdout) == ["0x5375", "0x6E53"]


@pytest.mark.peer
def test_mbpoll_gets_the_right_exceptions(device):
    outside = mbpoll(device, "-t", "4", "-r", "100", "-c", "1", "")
    assert "Illegal data address" in outside.stdout + outside.stderr
    read_only = mbpoll(device, "-t", "4", "-r", "40072", "1")
    assert "Illegal data address" in read_only.stdout + read_only.stderr
    coils = mbpoll(device, "-t", "0", "-r", "0", "-c", "1", "")
    assert "Illegal function" in coils.stdout + coils.stderr
