"""``echelon image``: a fleet's key, an image of a folder, and what it says of one."""

import pytest

from gateway.cli import main
from gateway.update_image import ImageFile


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "fleet.pem"
    assert main(["image", "key", str(path)]) == 0
    return path


@pytest.fixture
def folder(tmp_path):
    files = {
        "common/__init__.mpy": b"",
        "common/cells/__init__.mpy": b"",
        "common/cells/nmc.mpy": b"nmc",
        "common/cells/lfp_1_2ah.mpy": b"lfp",
        "common/cells/nca.mpy": b"nca",
        "firmware/main.mpy": b"main",
        "firmware/nca.mpy": b"no cell",
        "firmware/tools/lean.py": b"of the desk",
        "names.txt": b"_a _all",
    }
    for name, data in files.items():
        path = tmp_path / "build" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "build"


def make(folder, key, *options):
    path = folder.with_name("made.image")
    command = ["image", "make", folder, "--key", key, "--for", "armv6m", "-o", path, *options]
    assert main([str(part) for part in command]) == 0
    return ImageFile.read(path.read_bytes(), "made.image"), path


def test_an_image_holds_the_firmware_and_nothing_of_the_desk(folder, key):
    image, _path = make(folder, key, "--version", "0.2.3", "--afe", "bq76952")
    assert (image.version_text, image.afe, image.board) == ("0.2.3", "bq76952", "")
    assert image.modules == {
        "common.__init__", "common.cells.__init__", "common.cells.nmc", "common.cells.nca",
        "common.cells.lfp_1_2ah", "firmware.main", "firmware.nca",
    }  # fmt: skip


def test_an_image_for_some_cells_leaves_out_the_others(folder, key):
    image, _path = make(folder, key, "--cells", "nmc", "--cells", "lfp-1.2ah")
    assert image.modules == {
        "common.__init__", "common.cells.__init__", "common.cells.nmc", "common.cells.lfp_1_2ah",
        "firmware.main", "firmware.nca",
    }  # fmt: skip


def test_show_says_what_it_is_and_whose(folder, key, tmp_path, capsys):
    _image, path = make(folder, key, "--cells", "nca", "--board", "rp2", "--version", "1.2.3")
    capsys.readouterr()
    assert main(["image", "show", str(path), "--key", f"{key}.pub"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{path}: version 1.2.3 for armv6m rp2: 5 files, 0.7 kB, SHA-256 ")
    assert shown.endswith("\ncells: nca\nsigned with this fleet's key\n")
    other = tmp_path / "other.pem"
    main(["image", "key", str(other)])
    assert other.stat().st_mode & 0o777 == 0o600
    assert main(["image", "show", str(path), "--key", f"{other}.pub"]) == 1
    assert capsys.readouterr().out.endswith("\nNOT signed with this fleet's key\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:400], "not an image"),
        (lambda data: data[:-1], "damaged"),
        (lambda data: data[:-1] + b"\x55", "damaged"),
        (lambda data: b"X" + data[1:], "not an image"),
    ],
)
def test_what_is_no_whole_image_is_refused(folder, key, capsys, change, says):
    _image, path = make(folder, key)
    path.write_bytes(change(path.read_bytes()))
    assert main(["image", "show", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"echelon: {path}: {says}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--version", "1.2"], "version '1.2' is not like 0.2.0"),
        (["--key", "absent.pem"], "absent.pem: "),
        (["-o", "/nowhere/made.image"], "/nowhere/made.image: "),
    ],
)
def test_mistakes_are_told_in_one_line(folder, key, capsys, options, says):
    command = ["image", "make", folder, "--key", key, "--for", "source", "-o", folder / "x"]
    assert main([str(part) for part in [*command, *options]]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"echelon: {says}")
    assert error.count("\n") == 1


def test_a_folder_that_is_no_firmware_is_refused(tmp_path, key, capsys):
    command = ["image", "make", tmp_path, "--key", key, "--for", "source", "-o", tmp_path / "x"]
    assert main([str(part) for part in command]) == 2
    assert "no firmware/ and common/ in it" in capsys.readouterr().err


def test_a_key_is_never_written_over(key, capsys):
    before = key.read_bytes()
    assert main(["image", "key", str(key)]) == 2
    assert "File exists" in capsys.readouterr().err
    assert key.read_bytes() == before
