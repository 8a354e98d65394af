"""A configuration's faults are told in one line each, and the example is without fault."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import check_machine, load, parse
from gateway.errors import UserError

GOOD = """\
[gateway]
id = "g1"
[[bus]]
name = "pack-bay-1"
port = "tcp://192.0.2.1:502"
[[bus.pack]]
address = 1
"""

FAULTS = {
    "wrong type": (
        'id = "g1"',
        "id = 5",
        'gateway: id 5 is not a text in quotes (try id = "bay-1")',
    ),
    "number in quotes": (
        "address = 1",
        'address = "1"',
        'bus "pack-bay-1": pack 1: address "1" is not a whole number (try address = 1)',
    ),
    "unknown key": (
        "address = 1",
        "adress = 1\naddress = 1",
        'bus "pack-bay-1": pack 1: unknown key "adress" (did you mean "address"?)',
    ),
    "unknown key far from all": (
        'id = "g1"',
        'id = "g1"\nxyzzy = 1',
        'gateway: unknown key "xyzzy" (known here: id, state_dir, set_time)',
    ),
    "missing key": ('id = "g1"\n', "", 'gateway: key "id" is missing (add id = "bay-1")'),
    "missing packs": (
        "[[bus.pack]]\naddress = 1",
        "",
        'bus "pack-bay-1": key "pack" is missing (add [[bus.pack]])',
    ),
    "no packs": (
        "[[bus.pack]]\naddress = 1",
        "pack = []",
        'bus "pack-bay-1": no pack is named (add a table [[bus.pack]])',
    ),
    "baudrate": (
        'name = "pack-bay-1"',
        'name = "pack-bay-1"\nbaudrate = 115201',
        'bus "pack-bay-1": baudrate 115201 is not one the port supports (try 115200)',
    ),
    "address too high": (
        "address = 1",
        "address = 248",
        'bus "pack-bay-1": pack 1: address 248 is above 247 (try address = 1)',
    ),
    "one address twice": (
        "address = 1",
        "address = 1\n[[bus.pack]]\naddress = 1",
        ('bus "pack-bay-1": address 1 stands twice (every pack on a bus has its own; 2 is free)'),
    ),
    "one name twice": (
        "[[bus]]",
        '[[bus]]\nname = "pack-bay-1"\nport = "tcp://192.0.2.2"\npack = [{address = 1}]\n[[bus]]',
        'bus "pack-bay-1": another bus has this name (give each bus its own)',
    ),
    "one port twice": (
        "[[bus]]",
        '[[bus]]\nname = "b2"\nport = "tcp://192.0.2.1:502"\npack = [{address = 1}]\n[[bus]]',
        (
            'bus "pack-bay-1": port "tcp://192.0.2.1:502" already belongs to bus "b2" '
            "(put its packs there)"
        ),
    ),
    "way to the bus": (
        "tcp://192.0.2.1:502",
        "ftp://192.0.2.1",
        (
            'bus "pack-bay-1": port "ftp://192.0.2.1" ftp:// is not a way to a bus '
            "(try tcp://host:502 for Modbus TCP, rtu+tcp://host:port for a serial server)"
        ),
    ),
    "topic": (
        "[[bus]]",
        '[mqtt]\nbase_topic = "a/#"\n[[bus]]',
        (
            'mqtt: base_topic "a/#" is not a topic (letters and single "/", no "+" or "#"; '
            'try "echelon")'
        ),
    ),
    "password without user": (
        "[[bus]]",
        '[mqtt]\npassword_file = "p"\n[[bus]]',
        "mqtt: password_file stands without username (add username)",
    ),
    "syntax": (
        "address = 1",
        "address = = 1",
        "line 7, column 11: not valid TOML: invalid value (mend that line)",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_one_clear_line(name):
    right, wrong, line = FAULTS[name]
    assert right in GOOD
    with pytest.raises(UserError) as caught:
        parse(GOOD.replace(right, wrong, 1), "gateway.toml")
    assert caught.value.lines == (f"gateway.toml: {line}",)


def test_all_faults_are_told_at_once():
    text = GOOD.replace('"g1"', "5").replace("address = 1", "address = 0")
    with pytest.raises(UserError) as caught:
        parse(text, "gateway.toml")
    assert len(caught.value.lines) == 2


def test_the_least_configuration_is_enough():
    config = parse(GOOD, "gateway.toml")
    assert config.mqtt.base_topic == "echelon"
    assert config.bus[0].pack[0].address == 1


def test_the_example_is_without_fault(root):
    config = load(root / "docs" / "gateway.example.toml")
    assert [bus.name for bus in config.bus] == ["pack-bay-1", "container"]


def test_what_the_example_comments_out_shows_the_defaults(root):
    text = (root / "docs" / "gateway.example.toml").read_text()
    lines = [
        line[2:] if line.startswith("# ") and " = " in line else line for line in text.splitlines()
    ]
    full = parse("\n".join(lines).replace("# [mqtt.tls]", "[mqtt.tls]"), "example")
    bare = parse(text, "example")
    assert full.bus == bare.bus
    assert full.spool == bare.spool
    own = {"username", "password_file", "tls"}
    assert full.mqtt.model_dump(exclude=own) == bare.mqtt.model_dump(exclude=own)


def test_a_port_that_does_not_exist_is_named_with_those_that_do():
    config = parse(GOOD.replace("tcp://192.0.2.1:502", "/dev/echelon-nowhere"), "gateway.toml")
    with pytest.raises(UserError) as caught:
        check_machine(config, "gateway.toml")
    (line,) = caught.value.lines
    assert line.startswith(
        'gateway.toml: bus "pack-bay-1": port "/dev/echelon-nowhere" does not exist (serial ports'
    )


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.toml: no such file"):
        load(tmp_path / "none.toml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


def as_toml(value):
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(max(-(2**63), min(value, 2**63 - 1)))
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08X}" for c in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(k)} = {as_toml(v)}" for k, v in value.items()) + "}"
    return repr(value)


def faults_in(text):
    try:
        parse(text, "gateway.toml")
    except UserError as error:
        return error.lines
    return ()


@settings(max_examples=150, deadline=None)
@given(
    key=st.sampled_from(
        ["gateway", "mqtt", "spool", "bus", "gateway.id", "mqtt.port", "mqtt.tls", "mqtt.protocol",
         "spool.max_mb", "extra"]
    ),
    value=VALUES,
)  # fmt: skip
def test_whatever_stands_in_the_file_is_told_in_whole_lines(key, value):
    lines = faults_in(f"{key} = {as_toml(value)}\n")
    assert lines, "no bus is named at least"
    for line in lines:
        assert line.startswith("gateway.toml: ")
        assert "\n" not in line
