"""``echelon settings`` against boards with the real firmware, in the real MicroPython."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from desk_rig import desk, has_micropython

pytestmark = pytest.mark.skipif(
    not has_micropython(), reason="micropython is neither beside this Python nor on PATH"
)

ECHELON = Path(sys.executable).with_name("echelon")
KEY = bytes(range(7, 39))


def settings(bus, *arguments):
    return subprocess.run(
        [ECHELON, "settings", bus.port, "1", *arguments, "--timeout-ms", "2000"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_an_operator_with_the_key_sets_limits_and_one_without_does_not(tmp_path):
    board = tmp_path / "boards" / "EC-LEFT"
    board.mkdir(parents=True)
    (board / "device.key").write_text(KEY.hex() + "\n")
    key, wrong = tmp_path / "key", tmp_path / "wrong"
    key.write_bytes(KEY)
    wrong.write_bytes(bytes(32))
    with desk(tmp_path, 20.0) as (_, bus):
        shown = settings(bus, "show", "--json")
        assert shown.returncode == 0, shown.stderr
        before = json.loads(shown.stdout)
        assert (before["source"], before["state"]) == ("file", "ready")
        cov = before["settings"]["cov_mv"]

        change = f"cov_mv={cov['value'] - 20}"
        connected = settings(bus, "set", change, "--key", str(key))
        assert (connected.returncode, connected.stdout) == (
            1,
            "EC-LEFT refuses: its switches must be open (--disconnect opens them for it)\n",
        )
        done = settings(bus, "set", change, "otd_dc=550", "--disconnect", "--key", str(key))
        assert (done.returncode, done.stdout) == (0, f"EC-LEFT takes {change}, otd_dc=550\n")

        loose = cov["highest"] + 1
        refused = settings(bus, "set", f"cov_mv={loose}", "--disconnect", "--key", str(key))
        assert refused.returncode == 1
        assert refused.stdout == (
            f"EC-LEFT refuses: cov_mv {loose} is beyond the hard limits of this "
            f"pack (1500 to {cov['highest']} mV)\n"
        )
        thief = settings(bus, "set", "otd_dc=500", "--disconnect", "--key", str(wrong))
        assert thief.returncode == 1
        assert thief.stdout.startswith("EC-LEFT refuses: it does not know this key")

        after = json.loads(settings(bus, "show", "--json").stdout)
        assert after["source"] == "remote"
        assert after["failed_tries"] == 1
        changed = {
            name: each["value"]
            for name, each in after["settings"].items()
            if each["value"] != before["settings"][name]["value"]
        }
        assert changed == {"cov_mv": cov["value"] - 20, "otd_dc": 550}
    assert (board / "limits.0").exists()
