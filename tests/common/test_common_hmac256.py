"""HMAC-SHA256 of RFC 4231, on every interpreter, and against the standard library."""

import hmac
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.hmac256 import hmac_sha256, same

# RFC 4231, chapter 4: key, data, HMAC-SHA-256. Case 5 is cut to 128 bits.
VECTORS = [
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        (
            b"This is a test using a larger than block-size key and a larger than block-size "
            b"data. The key needs to be hashed before being used by the HMAC algorithm."
        ),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]


@pytest.mark.parametrize(("key", "data", "expected"), VECTORS)
def test_the_vectors_of_rfc_4231(key, data, expected):
    assert hmac_sha256(key, data).hex()[: len(expected)] == expected


def test_a_board_finds_the_same(micropython: str, root: Path) -> None:
    script = "from common.hmac256 import hmac_sha256 as h\n"
    for key, data, _expected in VECTORS:
        script += f"print(h({key!r}, bytearray({data[:7]!r}), memoryview({data[7:]!r})))\n"
    done = subprocess.run(
        [micropython, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={"MICROPYPATH": f"{root}:.frozen"},
    )
    found = [eval(line).hex() for line in done.stdout.splitlines()]
    assert [
        each[: len(expected)] for each, (*_, expected) in zip(found, VECTORS, strict=True)
    ] == [expected for *_, expected in VECTORS]


@given(st.binary(max_size=200), st.lists(st.binary(max_size=100), max_size=4))
def test_the_standard_library_finds_the_same(key, parts):
    assert hmac_sha256(key, *parts) == hmac.digest(key, b"".join(parts), "sha256")


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_only_what_is_equal_is_the_same(one, other):
    assert same(one, other) is (one == other)
    assert same(one, bytearray(one))


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 128])
def test_a_key_of_any_length_is_taken(length):
    """A key of one block is taken as it is, a longer one is hashed first."""
    key = bytes(range(length))
    assert hmac_sha256(key, b"a", b"", b"bc") == hmac.digest(key, b"abc", "sha256")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (b"", b"", True), (b"a", b"a", True), (b"abc", b"abc", True), (b"a", b"", False),
        (b"", b"a", False), (b"abc", b"abcd", False), (b"abcd", b"abc", False),
        (b"bbc", b"abc", False), (b"aac", b"abc", False), (b"abb", b"abc", False),
        (b"ba", b"ab", False), (b"\x01\x02", b"\x00\x00", False), (b"a", b"`", False),
    ],
)  # fmt: skip
def test_two_strings_of_bytes_are_the_same_or_differ_anywhere(one, other, expected):
    assert same(one, memoryview(other)) is expected
