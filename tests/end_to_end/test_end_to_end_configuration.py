"""Every mistake in a configuration is one clear line and exit code 2, for the user who runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
[gateway]
id = "g"
state_dir = "{folder}/state"
[mqtt]
username = "u"
password_file = "{folder}/password"
[[bus]]
name = "bay"
port = "tcp://127.0.0.1:1"
[[bus.pack]]
address = 1
"""


def run(config):
    echelon = Path(sys.executable).with_name("echelon")
    done = subprocess.run(
        [echelon, "gateway", "--config", config], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("address = 1", 'address = "1"', 'bus "bay": pack 1: address "1" is not a whole number'),
        ('name = "bay"', 'name = "bay"\nspeed = 9600', 'bus "bay": unknown key "speed"'),
        ("address = 1", "address = 1\n[[bus.pack]]\naddress = 1", "address 1 stands twice"),
        ("tcp://127.0.0.1:1", "/dev/echelon-nowhere", "nowhere\" does not exist"),
        ("tcp://127.0.0.1:1", "{folder}", 'port "{folder}" is not a serial port'),
        ("[[bus]]", "[[bus]", "line 8, column 6: not valid TOML"),
        ("{folder}/password", "/proc/self/mem", 'password_file "/proc/self/mem" cannot be read'),
        ("{folder}/password", "{folder}/binary", "cannot be read: not a text in UTF-8"),
        ("{folder}/password", "{folder}/none", "is not a file"),
        ('username = "u"', 'username = "u"\ntls = {{ca = "{folder}/password"}}', "mqtt.tls: "),
        ('username = "u"', 'username = "u"\nhost = "a..b"', "is not the name of a host"),
        ("{folder}/state", "/proc/echelon", "state_dir /proc/echelon: cannot be made"),
        ("{folder}/state", "{folder}/password", "cannot be made"),
        ("{folder}/state", "/sys", "spool /sys/spool.db: unable to open database file"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, old, new, words):
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    config = tmp_path / "gateway.toml"
    config.write_text(GOOD.replace(old, new).format(folder=tmp_path))
    code, lines = run(config)
    assert code == 2
    (line,) = lines
    assert words.format(folder=tmp_path) in line
    assert line.endswith(")"), "it names a way out"
    assert "secret" not in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.toml", "no such file"),
        (".", "cannot be read: Is a directory"),
        ("binary", "cannot be read: not a text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_2(tmp_path, name, words):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    code, lines = run(tmp_path / name)
    assert code == 2
    (line,) = lines
    assert line.startswith(f"{tmp_path / name}: ")
    assert words in line
