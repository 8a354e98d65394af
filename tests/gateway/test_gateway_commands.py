"""The command line: what is found, what is printed, and one line for every mistake."""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from gateway_fakes import FakePack, PackTcpServer

from common import __version__
from gateway.cli import main
from gateway.commands.read import ROW_WIDTH
from gateway.reading_keys import ENERGY_CELL


@pytest.fixture
def pack():
    fake = FakePack("EB-7", n_cells=8)
    fake.measure(12)
    return fake


@pytest.fixture
def server(pack):
    with PackTcpServer({3: pack}) as server:
        yield server


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"echelon {__version__}\n"


def test_a_command_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["nonsense"])
    assert caught.value.code == 2
    assert "nonsense" in capsys.readouterr().err


def test_the_commands_of_the_gateway_are_installed():
    installed = {entry.name for entry in entry_points(group="echelon.commands")}
    assert {"gateway", "scan", "read"} <= installed


def test_scan_finds_the_pack_and_says_what_it_is(server, capsys):
    assert main(["scan", server.url, "--addresses", "2-4", "--timeout-ms", "60"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split() == ["3", "EB-7", "8", "cells", "Test", "pack", "firmware", "0.1.0"]


def test_scan_that_finds_nothing_says_so(server, capsys):
    assert main(["scan", server.url, "--addresses", "9", "--timeout-ms", "60"]) == 1
    assert capsys.readouterr().out == f"no pack answered on {server.url} at 9\n"


def test_read_prints_the_messages_of_the_gateway(server, pack, capsys):
    assert main(["read", server.url, "3", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["state"]["serial"], values["state"]["seq"]) == ("EB-7", 12)
    cells_mv = [round(v * 1000) for v in values["state"]["cell_voltages_v"]]
    assert cells_mv == pack.truth[1, 12]
    assert len(values["detail"]["health"]["cells"]) == 8


def test_read_prints_one_figure_a_line_and_says_unknown(server, capsys):
    assert main(["read", server.url, "3"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["serial", "EB-7"] in lines
    assert ["soc_pct", "unknown"] in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["read", "/dev/echelon-nowhere", "1"],
            r'port "/dev/echelon-nowhere" does not exist \(.+\)',
        ),
        (["read", "tcp://127.0.0.1:502", "0"], r"address 0 is not one \(try 1 to 247\)"),
        (["read", "ftp://host", "1"], r"port 'ftp://host' ftp:// is not a way to a bus \(.+\)"),
        (
            ["scan", "tcp://127.0.0.1:1"],
            r"tcp://127.0.0.1:1 cannot be opened: .+",
        ),
        (
            ["scan", "tcp://127.0.0.1:1", "--addresses", "0-3"],
            r"--addresses '0-3' leaves 1 to 247 \(try 1-16\)",
        ),
        (
            ["scan", "tcp://127.0.0.1:1", "--addresses", "a"],
            r"--addresses 'a' is no list like 1-16 or 1,5,9-12",
        ),
        (
            ["scan", "tcp://127.0.0.1:1", "--baudrate", "115201"],
            r"--baudrate 115201 is not one the port supports \(try 115200\)",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert re.fullmatch(f"echelon: {message}\n", captured.err)
    assert captured.out == ""


def test_a_pack_that_does_not_answer_is_one_line(server, capsys):
    assert main(["read", server.url, "5", "--timeout-ms", "50"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unit 5: no answer within 0.05 s" in line


def test_a_bad_configuration_ends_the_gateway_with_its_lines(tmp_path, capsys):
    path = tmp_path / "gateway.toml"
    path.write_text("[gateway]\nid = 5\n")
    assert main(["gateway", "--config", str(path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f'{path}: gateway: id 5 is not a text in quotes (try id = "bay-1")',
        f'{path}: key "bus" is missing (add [[bus]])',
    ]


def test_a_good_configuration_can_be_checked_without_running(tmp_path, capsys):
    path = tmp_path / "gateway.toml"
    path.write_text(
        '[gateway]\nid = "g"\n[[bus]]\nname = "b"\nport = "tcp://192.0.2.1"\n'
        "[[bus.pack]]\naddress = 1\n"
    )
    assert main(["gateway", "--config", str(path), "--check"]) == 0
    assert capsys.readouterr().out == f"{path}: good\n"


def test_a_mistake_in_the_arguments_is_one_line_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["read", "tcp://127.0.0.1:1", "x"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "echelon read: argument ADDRESS: invalid int value: 'x' (see echelon read --help)\n"
    )


def test_a_port_that_cannot_be_opened_is_told_once(capsys):
    assert main(["read", "tcp://127.0.0.1:1", "1"]) == 2
    line = "echelon: tcp://127.0.0.1:1 cannot be opened: Connect call failed"
    assert capsys.readouterr().err.startswith(line)


def test_read_prints_a_line_a_cell(server, capsys):
    assert main(["read", server.url, "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("health cells:")
    head, cells = lines[at + 1].split(), [line.split() for line in lines[at + 2 : at + 10]]
    assert head[:2] == ["number", "soh_pct"]
    assert [cell[0] for cell in cells] == [str(n) for n in range(1, 9)]
    assert {len(cell) for cell in cells} == {len(head)}


def test_what_does_not_fit_a_line_is_printed_in_parts_that_each_name_the_cell(server, capsys):
    assert main(["read", server.url, "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= ROW_WIDTH
    at = lines.index("energy cells:")
    parts = [lines[at + 1 + 9 * n : at + 1 + 9 * (n + 1)] for n in range(2)]
    keys = []
    for head, *cells in parts:
        first, *others = head.split()
        assert first == "number"
        assert [cell.split()[0] for cell in cells] == [str(n) for n in range(1, 9)]
        keys += others
    assert keys == list(ENERGY_CELL.values())


@pytest.mark.peer
def test_systemd_accepts_the_unit(root, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze: apt install systemd")
    text = (root / "gateway" / "systemd" / "echelon-gateway.service").read_text()
    unit = tmp_path / "echelon-gateway.service"
    # the only thing that is not on every machine is where the gateway is installed
    unit.write_text(text.replace("/opt/echelon/bin/echelon", sys.executable))
    done = subprocess.run(
        [analyze, "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    exposure = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=16", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert exposure.returncode == 0, exposure.stdout[-200:]
    for line in ("Type=notify", "WatchdogSec=120", "StateDirectory=echelon"):
        assert line in text.splitlines()
