"""``echelon flash usb``: the real mpremote, a real MicroPython, real littlefs."""

import os
import random
import shutil

import pytest
from update_rig import ROOT, Images, new_key
from usb_rig import ARMV7, BoardOnUsb, files_of, in_micropython, no_waiting, would_start

from gateway.cli import main
from gateway.update_image import folder_files, pack, public_bytes

pytestmark = pytest.mark.usefixtures("desk_micropython")

N_CUTS = int(os.environ.get("ECHELON_USB_CUTS", "3"))  # of each kind of install
SETTINGS = b'{"serial": "EC-OLD", "n_cells": 14, "profile": "nmc", "rated_mah": 50000}'
KEPT = {"settings.json": SETTINGS, "device.key": b"k" * 32, "boot.0": b"a record"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    no_waiting(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Images and keys in a folder: old, new, and such as must not be taken."""
    folder = tmp_path_factory.mktemp("images")
    key, other = new_key(), new_key()
    compiled = tmp_path_factory.mktemp("compiled")
    images = Images(compiled, key)
    few = {"interpreter": ARMV7, "cells": ("nmc",)}
    old = images.make((0, 1, 0), **few)
    new = images.make((0, 2, 0), afe="bq76952", board="rp2", **few)

    def other_image(interpreter=ARMV7, cells=("nmc",), key=key, **header):
        return pack(folder_files(compiled, cells), (0, 2, 0), interpreter, key, **header)

    for name, data in {
        "old.image": old,
        "new.image": new,
        "lfp.image": other_image(cells=("lfp",)),
        "armv6m.image": other_image(0x1306),
        "esp32.image": other_image(board="esp32"),
        "chain.image": other_image(afe="ltc6813"),
        "foreign.image": other_image(key=other),
        "update.key": public_bytes(key),
        "other.key": public_bytes(other),
    }.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def flash(made, tmp_path):
    """Flash a board from the file of its flash: exit code."""

    def run(image, *options, key="update.key", **about):
        with BoardOnUsb(tmp_path / "flash", **about) as board:
            command = ["flash", "usb", board.port, made / image, *options]
            command += ["--key", made / key] if key else []
            return main([str(part) for part in command])

    return run


@pytest.fixture(scope="module")
def old_flash(made, tmp_path_factory):
    """The flash of a board that was installed once."""
    path = tmp_path_factory.mktemp("installed") / "flash"
    with pytest.MonkeyPatch.context() as patch, BoardOnUsb(path) as board:
        no_waiting(patch)
        command = ["flash", "usb", board.port, made / "old.image", "--key", made / "update.key"]
        assert main([str(part) for part in command]) == 0
    return path


@pytest.fixture
def installed(old_flash, tmp_path):
    """The board of this test has the old image."""
    shutil.copy(old_flash, tmp_path / "flash")


def lay(flash, files):
    """Put files onto a board's flash directly."""
    code = "".join(
        f"with open({name!r}, 'wb') as f: f.write({data!r})\n" for name, data in files.items()
    )
    in_micropython(flash, code)


def test_a_new_board_gets_all_it_needs_and_main_last(flash, made, tmp_path, capsys):
    assert flash("old.image") == 0
    files = files_of(tmp_path / "flash")
    assert files == {
        "loader.py": (ROOT / "firmware" / "loader.py").read_bytes(),
        "image.0": (made / "old.image").read_bytes(),
        "update.key": (made / "update.key").read_bytes().hex().encode() + b"\n",
        "main.py": b'import loader\n\nloader.start("firmware.boards.rp2", "/flash")\n',
    }
    said = capsys.readouterr().out
    assert "rp2: installed as image.0\n" in said
    assert "it is no pack's yet: echelon provision usb /dev/pts/" in said


def test_the_same_again_changes_nothing(flash, tmp_path, capsys, installed):
    files = files_of(tmp_path / "flash")
    assert flash("old.image") == 0
    assert "runs it already" in capsys.readouterr().out
    assert files_of(tmp_path / "flash") == files


def test_a_board_of_a_pack_tries_the_new_image_and_keeps_the_old_one(
    flash, made, tmp_path, capsys, installed
):
    lay(tmp_path / "flash", KEPT)
    assert flash("new.image") == 0
    assert "rp2: installed as image.1, on trial" in capsys.readouterr().out
    files = files_of(tmp_path / "flash")
    assert {name: files[name] for name in KEPT} == KEPT
    assert files["image.0"] == (made / "old.image").read_bytes()
    chosen = in_micropython(
        tmp_path / "flash", "import loader\nfor _ in (0, 1): print(loader.choose('/flash'))"
    )
    assert chosen.split() == ["1", "0"], "tried once; not healthy, so taken back"


def test_without_a_trial_it_is_started_for_good(flash, tmp_path, capsys, installed):
    lay(tmp_path / "flash", KEPT)
    assert flash("new.image", "--no-trial") == 0
    chosen = in_micropython(
        tmp_path / "flash", "import loader\nfor _ in (0, 1): print(loader.choose('/flash'))"
    )
    assert chosen.split() == ["1", "1"]


def test_a_main_of_its_owner_that_uses_the_loader_stays(flash, tmp_path, installed):
    own = b'# my board\nimport loader\nloader.start("my_board")\n'
    lay(tmp_path / "flash", {"main.py": own})
    assert flash("new.image") == 0
    assert files_of(tmp_path / "flash")["main.py"] == own


def test_a_firmware_that_runs_is_held_past_its_watchdog(flash, tmp_path, installed):
    lay(tmp_path / "flash", KEPT)
    assert flash("new.image", watchdog_ms=1500) == 0
    files = files_of(tmp_path / "flash")
    assert "main.held" not in files
    assert "main.py" in files


def test_a_damaged_image_is_replaced_where_it_was(flash, made, tmp_path, installed):
    lay(tmp_path / "flash", KEPT)
    in_micropython(
        tmp_path / "flash",
        "with open('image.0', 'r+b') as f:\n f.seek(2000)\n f.write(b'damaged')",
    )
    assert flash("new.image") == 0
    assert would_start(tmp_path / "flash") == (made / "new.image").read_bytes()


@pytest.mark.parametrize(
    ("image", "about", "says"),
    [
        ("armv6m.image", {}, "for armv6m, the board's interpreter takes armv7emsp (echelon image"),
        ("old.image", {"mpy": 0x1F05}, "for armv7emsp, the board's interpreter takes 0x1f05"),
        ("esp32.image", {}, "the image is for esp32, the board is a rp2"),
        ("new.image", {"platform": "esp32"}, "the image is for rp2, the board is a esp32"),
        ("old.image", {"platform": "nrf52"}, "port nrf52 (known: rp2, esp32, stm32; docs/board"),
        ("old.image", {"version": [1, 24, 1]}, "it runs micropython 1.24.1 (install MicroPython"),
        ("old.image", {"name": "circuitpython", "version": [9, 2]}, "it runs circuitpython 9.2"),
        ("old.image", {"n_blocks": 30}, "kB are free, the image takes"),
    ],
)
def test_what_cannot_run_there_is_refused_before_anything_is_written(
    flash, tmp_path, capsys, image, about, says
):
    with BoardOnUsb(tmp_path / "flash", **about):
        pass
    assert flash(image, **about) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not files_of(tmp_path / "flash")


def test_another_board_than_the_one_named_is_refused(flash, capsys):
    assert flash("old.image", "--board", "stm32") == 2
    assert "it is a rp2, not a stm32" in capsys.readouterr().err


def test_an_image_of_another_fleet_is_refused(flash, tmp_path, capsys, installed):
    assert flash("foreign.image") == 2
    assert "not signed with the private half" in capsys.readouterr().err
    before = files_of(tmp_path / "flash")
    assert flash("foreign.image", key=None) == 2
    assert "not signed with the key of its fleet" in capsys.readouterr().err
    assert flash("foreign.image", key="other.key") == 2
    assert "its update.key is another fleet's" in capsys.readouterr().err
    assert files_of(tmp_path / "flash") == before


def test_a_main_of_something_else_is_not_overwritten(flash, tmp_path, capsys):
    with BoardOnUsb(tmp_path / "flash"):
        pass
    blink = {"main.py": b"import machine\nmachine.Pin(25)\n"}
    lay(tmp_path / "flash", blink)
    assert flash("old.image") == 2
    assert "main.py on it does not start by the loader: whose is it?" in capsys.readouterr().err
    assert files_of(tmp_path / "flash") == blink


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("lfp.image", "for it refuses settings.json: profile: cell profile 'nmc'"),
        ("chain.image", "it is for ltc6813, and the board's settings say bq76952"),
    ],
)
def test_an_image_that_does_not_take_the_settings_is_not_started(
    flash, made, tmp_path, capsys, image, says, installed
):
    lay(tmp_path / "flash", KEPT)
    assert flash(image) == 2
    assert says in capsys.readouterr().err
    assert would_start(tmp_path / "flash") == (made / "old.image").read_bytes()


def test_an_older_image_than_one_that_was_healthy_is_refused(flash, tmp_path, capsys):
    flash("new.image")
    in_micropython(
        tmp_path / "flash",
        "import loader\nr = loader.Record('/flash')\nr.lowest = 2 << 16\nr.save()",
    )
    assert flash("old.image") == 2
    assert "0.2.0 was healthy on it, and 0.1.0 is older" in capsys.readouterr().err


def test_a_port_that_is_none_and_a_board_that_says_nothing(made, capsys):
    assert main(["flash", "usb", "/dev/no-such", str(made / "old.image")]) == 2
    assert "/dev/no-such: no such port" in capsys.readouterr().err
    ours, theirs = os.openpty()
    try:
        assert main(["flash", "usb", os.ttyname(theirs), str(made / "old.image")]) == 2
    finally:
        os.close(ours)
        os.close(theirs)
    error = capsys.readouterr().err
    assert "no MicroPython answers there" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["usb", "/dev/x", "--no-start"],
        ["/dev/x", "1", "--board", "rp2"],
        ["/dev/x", "1", "--no-trial"],
    ],
)
def test_options_of_the_other_form_are_mistakes(made, capsys, arguments):
    assert main(["flash", *arguments, str(made / "old.image")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("is_installed", [False, True])
@pytest.mark.parametrize("n", range(N_CUTS))
def test_cut_anywhere_it_starts_a_whole_image_or_nothing_and_is_installed_again(
    flash, made, old_flash, tmp_path, is_installed, n, capsys
):
    old = (made / "old.image").read_bytes()
    new = (made / "new.image").read_bytes()
    if is_installed:
        shutil.copy(old_flash, tmp_path / "flash")
        lay(tmp_path / "flash", KEPT)
    # Of some 170 writes (an update: 155) 146 are the image: what is around it is cut as often.
    seed = random.Random(f"{is_installed} {n}")
    ranges = ((0, 20), (0, 150), (138, 156) if is_installed else (150, 170))
    cut_at = seed.randrange(*ranges[n % 3])
    code = flash("new.image", cut_at=cut_at)
    writes = int((tmp_path / "flash.count").read_text())
    assert (code == 2) == (writes == cut_at + 1), (code, writes, cut_at)
    if code:
        assert capsys.readouterr().err.count("\n") == 1
    started = would_start(tmp_path / "flash")
    assert started in ((None, old, new) if is_installed else (None, new))
    assert flash("new.image") == 0
    assert would_start(tmp_path / "flash") == new
    files = files_of(tmp_path / "flash")
    assert not [name for name in files if name.endswith((".tmp", ".held"))]
    assert {name: files.get(name) for name in KEPT} == (
        KEPT if is_installed else dict.fromkeys(KEPT)
    )
