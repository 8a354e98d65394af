"""``echelon provision usb``: the real mpremote, a real MicroPython, real littlefs."""

import hashlib
import json
import shutil
import threading

import pytest
from update_rig import Images, new_key
from usb_rig import ARMV7, SCRIPT, BoardOnUsb, files_of, in_micropython, no_waiting

from gateway.cli import main
from sim.bench import Rest
from sim.firmware_process import find_micropython
from sim.pack import PackSpec
from sim.world import World

pytestmark = pytest.mark.usefixtures("desk_micropython")

SERIAL = "EC-2026-0007"
OWN = """\
from common.cells import nmc
from common.profiles import CellProfile

n = nmc.PROFILE
PROFILE = CellProfile(
    "my-cell", n.chemistry, tuple(n.ocv_mv), 25, n.flat_bp, n.r_ref_uohm_ah,
    (("cell_max_mv", 4220),),
)
"""
# The board's main.py as it was written, with the desk's board and its world.
START = """
import sys
sys.path[:] = [{folder!r}]
from board_on_usb import mount
mount({flash!r})
import os
os.chdir("/flash")
sys.path[:] = ["", ".frozen", "/flash"]
with open("main.py") as file:
    text = file.read()
before = '"firmware.boards.rp2", "/flash"'
assert before in text
exec(text.replace(before, '"firmware.boards.unix", "/flash", ["{socket}", "/flash"]'))
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    no_waiting(monkeypatch)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "one.image"
    images = Images(tmp_path_factory.mktemp("compiled"), new_key())
    path.write_bytes(images.make((0, 3, 0), interpreter=ARMV7, cells=("nmc",)))
    return path


@pytest.fixture(scope="module")
def firmware_flash(image, tmp_path_factory):
    """The flash of a board that has its firmware and is no pack's."""
    path = tmp_path_factory.mktemp("installed") / "flash"
    with pytest.MonkeyPatch.context() as patch, BoardOnUsb(path) as board:
        no_waiting(patch)
        assert main(["flash", "usb", board.port, str(image)]) == 0
    return path


@pytest.fixture
def flash(firmware_flash, tmp_path):
    shutil.copy(firmware_flash, tmp_path / "flash")
    return tmp_path / "flash"


@pytest.fixture
def provision(tmp_path):
    """Provision a board from the file of its flash: exit code."""

    def run(flash, *options, serial=SERIAL, cells=14, profile="nmc", **about):
        with BoardOnUsb(flash, **about) as board:
            command = ["provision", "usb", board.port, "--serial", serial, "--cells", cells]
            command += ["--profile", profile, "--rated-mah", 50000, "--by", "Ada"]
            command += ["--out", tmp_path / "desk", *options]
            return main([str(part) for part in command])

    return run


def audit(tmp_path):
    lines = (tmp_path / "desk" / "provision.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_board_gets_settings_key_and_a_line_that_says_so(flash, provision, image, tmp_path):
    before = files_of(flash)
    assert provision(flash, "--set", "address=3", "cov_mv=4200", "--set", "period_ms=500") == 0
    files = files_of(flash)
    assert json.loads(files["settings.json"]) == {
        "serial": SERIAL, "n_cells": 14, "profile": "nmc", "rated_mah": 50000,
        "address": 3, "cov_mv": 4200, "period_ms": 500,
    }  # fmt: skip
    key_file = tmp_path / "desk" / f"{SERIAL}.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    key = files["device.key"]
    assert bytes.fromhex(key_file.read_text()) == key
    assert len(key) == 32
    (line,) = audit(tmp_path)
    assert json.loads(files["provision.json"]) == line
    assert line["utc"].endswith("Z")
    assert line == {
        "utc": line["utc"],
        "by": "Ada",
        "serial": SERIAL,
        "former": None,
        "board": "e66118604b1f2a33",
        "settings_crc": line["settings_crc"],
        "key_sha256": hashlib.sha256(key).hexdigest(),
        "firmware_sha256": image.read_bytes()[24:56].hex(),
    }
    assert key.hex() not in json.dumps(line)
    new = {"settings.json", "device.key", "provision.json"}
    assert {name: data for name, data in files.items() if name not in new} == before


def test_two_boards_have_two_keys(flash, firmware_flash, provision, tmp_path):
    other = tmp_path / "other"
    shutil.copy(firmware_flash, other)
    assert provision(flash) == 0
    assert provision(other, serial="EC-2026-0008", unique_id="0102030405060708") == 0
    assert files_of(flash)["device.key"] != files_of(other)["device.key"]


def test_a_board_is_provisioned_again_only_by_naming_whose_it_was(
    flash, provision, tmp_path, capsys
):
    assert provision(flash) == 0
    first = files_of(flash)
    for options in ([], ["--again", "EC-2026-0008"]):
        assert provision(flash, *options, serial="EC-2026-0009") == 2
        error = capsys.readouterr().err
        assert f"it is provisioned already, as {SERIAL} (--again {SERIAL} if" in error
        assert error.count("\n") == 1
    assert files_of(flash) == first
    in_micropython(
        flash,
        "import os\nos.mkdir('second')\n"
        "for n in ('limits.0', 'second/limits.1', 'second/boot.1'): open(n, 'w').close()",
    )
    assert provision(flash, "--again", SERIAL, "--set", "cov_mv=4170") == 0
    again = files_of(flash)
    assert again["device.key"] == first["device.key"], "the key on the desk stays good"
    for name in ("limits.0", "second/limits.1"):
        assert name not in again, "what was set over Modbus would go before the file"
    assert "second/boot.1" in again
    assert [line["former"] for line in audit(tmp_path)] == [None, SERIAL]


def test_another_serial_keeps_or_ends_what_was_learnt(flash, provision, capsys):
    assert provision(flash) == 0
    in_micropython(
        flash,
        "import os\nos.mkdir('second')\n"
        "for n in ('health.0', 'health.1', 'second/boot.1', 'x.py'): open(n, 'w').close()",
    )
    new = {"serial": "EC-NEW"}
    assert provision(flash, "--again", SERIAL, **new) == 2
    assert f"it has estimates and counts of {SERIAL} (--records keep:" in capsys.readouterr().err
    assert json.loads(files_of(flash)["settings.json"])["serial"] == SERIAL
    assert provision(flash, "--again", SERIAL, "--records", "erase", **new) == 0
    files = files_of(flash)
    assert not {"health.0", "health.1", "second/boot.1"} & set(files)
    assert {"image.0", "x.py", "main.py"} <= set(files)


def test_a_serial_is_given_to_one_board(flash, firmware_flash, provision, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copy(firmware_flash, other)
    assert provision(flash, "--again", SERIAL) == 2
    assert "it is not provisioned (leave --again away)" in capsys.readouterr().err
    assert provision(flash) == 0
    about = {"unique_id": "0102030405060708"}
    assert provision(other, **about) == 2
    assert f"serial {SERIAL} was given to the board e66118604b1f2a33" in capsys.readouterr().err
    assert provision(other, "--again", SERIAL, **about) == 0


def test_a_profile_of_ones_own_goes_along(flash, provision, tmp_path, capsys):
    own = tmp_path / "my_cell.py"
    own.write_text(OWN)
    assert provision(flash, "--set", "cov_mv=4221", profile=own) == 2
    assert "cov_mv 4221 is above 4220, the limit of 14 cells of my-cell" in capsys.readouterr().err
    assert provision(flash, profile=own) == 0
    files = files_of(flash)
    assert files["cells/my_cell.py"] == OWN.encode()
    assert json.loads(files["settings.json"])["profile"] == "my-cell"
    own.rename(tmp_path / "other.py")
    assert provision(flash, "--again", SERIAL, profile=tmp_path / "other.py") == 2
    assert "my-cell is looked for in my_cell.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--set", "cov_mv=4300"], "cov_mv 4300 is above 4250, the limit of 14 cells of nmc"),
        (["--set", "colour=3"], "colour is not a setting"),
        (["--set", "address"], "'address' is no setting (try address=3)"),
        (["--set", "serial=x"], "serial is given by --serial"),
        (["--set", "address=1", "address=2"], "address is set twice"),
        (["--set", "address=three"], "address 'three' must be a whole number"),
        (["--cells", "17", "--set", "afe=bq76952"], "n_cells 17: a bq76952 measures up to 16"),
        (["--serial", "../x"], "serial '../x' names a file here"),
        (["--serial", "x" * 33], "must be a string of 1 to 32 bytes"),
        (["--profile", "nmx"], "profile 'nmx' is not one of nmc,"),
        (["--profile", "p.json"], "(--out NAME.py makes a module)"),
        (["--profile", "p.py"], "p.py: No such file or directory"),
    ],
)
def test_what_the_firmware_would_refuse_is_refused_before_the_board_is_touched(
    tmp_path, capsys, options, says
):
    command = ["provision", "usb", "/dev/no-such", "--serial", SERIAL, "--cells", "14"]
    command += ["--profile", "nmc", "--rated-mah", "50000", "--out", str(tmp_path / "desk")]
    assert main([*command, *options]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "desk").exists()


def test_what_only_the_board_knows_is_refused_by_its_firmware(flash, provision, tmp_path, capsys):
    assert provision(flash, profile="lfp") == 2
    assert "the firmware on it refuses: settings.tmp: profile: cell" in capsys.readouterr().err
    assert "settings.json" not in files_of(flash)
    assert not list((tmp_path / "desk").glob("*.key"))
    assert provision(tmp_path / "empty") == 2
    assert "no firmware is on it (echelon flash usb installs one)" in capsys.readouterr().err


def test_a_full_flash_is_said_and_the_board_stays_as_it_was(flash, provision, capsys):
    fill = "n = os.statvfs('/flash')\nwith open('junk', 'wb') as f:\n"
    fill += " for _ in range(n[3] - 2): f.write(bytes(4096))\n"
    in_micropython(flash, fill)
    in_micropython(flash, "for n in range(9):\n try:\n  with open('j%d' % n, 'wb') as f: "
                   "f.write(bytes(4096))\n except OSError: pass\n")  # fmt: skip
    before = files_of(flash)
    own = flash.with_name("my_cell.py")
    own.write_text(OWN + "#" * 20000)
    assert provision(flash, profile=own) == 2
    error = capsys.readouterr().err
    assert "its flash is full (remove what is not Echelon's" in error
    assert error.count("\n") == 1
    assert files_of(flash) == before


@pytest.mark.parametrize("cut_at", range(12))
def test_cut_anywhere_it_is_provisioned_or_not_and_the_same_again_does_it(
    flash, provision, tmp_path, cut_at, capsys
):
    code = provision(flash, cut_at=cut_at)
    writes = int(flash.with_suffix(".count").read_text())
    assert (code == 2) == (writes == cut_at + 1), (code, writes)
    files = files_of(flash)
    done = "settings.json" in files
    if done:
        assert len(files["device.key"]) == 32
        assert json.loads(files["provision.json"])["serial"] == SERIAL
    capsys.readouterr()
    again = ["--again", SERIAL] if done else []
    assert provision(flash, *again) == 0, (code, cut_at, capsys.readouterr())
    files = files_of(flash)
    assert bytes.fromhex((tmp_path / "desk" / f"{SERIAL}.key").read_text()) == files["device.key"]
    assert "main.py" in files
    assert not [name for name in files if name.endswith((".tmp", ".held"))]


@pytest.mark.slow
def test_what_was_installed_and_provisioned_serves_modbus_as_that_pack(
    flash, provision, tmp_path, capsys
):
    assert provision(flash, "--set", "address=3") == 0

    def command(socket_path, _root, _spec):
        code = START.format(folder=str(SCRIPT.parent), flash=str(flash), socket=str(socket_path))
        return [find_micropython(), "-c", code]

    with World(seed=3, speed=10.0, folder=tmp_path / "boards", board_command=command) as world:
        spec = PackSpec(SERIAL, n_cells=14, soc=0.5, address=3, program=(Rest(1e6),))
        bus = world.add_bus("bay", 115200, [world.add_pack(spec)])
        world.start()
        stop = threading.Event()
        runner = threading.Thread(target=world.run, kwargs={"stop": stop})
        runner.start()
        try:
            capsys.readouterr()
            scan = ["scan", bus.port, "--addresses", "3", "--timeout-ms", "2000"]
            assert main(scan) == 0
            assert SERIAL in capsys.readouterr().out
            key = tmp_path / "desk" / f"{SERIAL}.key"
            sets = ["settings", bus.port, "3", "set", "cov_mv=4170", "--disconnect"]
            assert main([*sets, "--key", str(key), "--timeout-ms", "2000"]) == 0
            assert capsys.readouterr().out == f"{SERIAL} takes cov_mv=4170\n"
        finally:
            stop.set()
            runner.join()
