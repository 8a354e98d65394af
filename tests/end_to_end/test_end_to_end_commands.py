"""The commands an operator types, against two boards with the real firmware on one line."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from desk_rig import ADDRESSES, desk, has_micropython

from sim.rs485 import HOST

pytestmark = pytest.mark.skipif(
    not has_micropython(), reason="micropython is neither beside this Python nor on PATH"
)

ECHELON = Path(sys.executable).with_name("echelon")
PATIENT = ("--timeout-ms", "2000")  # the desk may be busy


def echelon(*arguments):
    return subprocess.run(
        [ECHELON, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
def test_what_an_operator_types_answers_in_words_he_can_use(tmp_path):
    with desk(tmp_path, 20.0) as (_, bus):
        scanned = echelon("scan", bus.port, "--addresses", "1-2", *PATIENT)
        assert scanned.returncode == 0, scanned.stderr
        assert [line.split()[:4] for line in scanned.stdout.splitlines()] == [
            [str(unit), serial, str(12 + 2 * unit), "cells"] for unit, serial in ADDRESSES.items()
        ]

        read = echelon("read", bus.port, "2", *PATIENT)
        assert read.returncode == 0, read.stderr
        assert max(map(len, read.stdout.splitlines())) < 132
        figures = [line.split(maxsplit=1) for line in read.stdout.splitlines()]
        assert ["serial", "EC-RIGHT"] in figures
        assert ["soh_pct", "unknown"] in figures

        evidence = echelon("read", bus.port, "1", "--json", *PATIENT)
        (tmp_path / "evidence.json").write_text(evidence.stdout)
        graded = echelon("grade", "--from", str(tmp_path / "evidence.json"))
        assert graded.returncode == 0, graded.stderr
        assert graded.stdout.startswith("EC-LEFT: Hold: there is no state of health yet")
        report = echelon("grade", "--json", "--from", str(tmp_path / "evidence.json"))
        assert json.loads(report.stdout)["serial"] == "EC-LEFT"

        nobody = echelon("read", bus.port, "9", "--timeout-ms", "100")
        assert (nobody.returncode, nobody.stdout) == (2, "")
        assert len(nobody.stderr.splitlines()) == 1
        nowhere = echelon("scan", bus.port, "--addresses", "9", "--timeout-ms", "100")
        assert nowhere.returncode == 1

        endless = [ECHELON, "scan", bus.port, "--addresses", "10-247", "--timeout-ms", "500"]
        asked = threading.Event()

        def hear(train):
            if train.source == HOST:
                asked.set()
            return [train]

        bus.line.tamper = hear
        with subprocess.Popen(endless, stderr=subprocess.PIPE, text=True) as scanning:
            assert asked.wait(60)
            scanning.send_signal(signal.SIGINT)
            assert scanning.wait(60) == 130
            assert scanning.stderr.read() == ""
