"""The simulated NOR flash keeps to a chip's rules, and the real littlefs keeps to them too."""

import errno

import pytest

from sim.flash import (
    BLOCK_BYTES,
    ERASE,
    PAGE_BYTES,
    PROGRAM,
    TEARS,
    NorFlash,
    PowerCut,
    RuleError,
    apply,
    tear,
)


def content(flash: NorFlash, block: int, n_bytes: int, offset: int = 0) -> bytes:
    buffer = bytearray(n_bytes)
    flash.readblocks(block, buffer, offset)
    return bytes(buffer)


def test_a_new_chip_is_erased() -> None:
    flash = NorFlash(2)
    assert content(flash, 1, BLOCK_BYTES) == b"\xff" * BLOCK_BYTES
    assert (flash.ioctl(4, 0), flash.ioctl(5, 0)) == (2, BLOCK_BYTES)


def test_a_program_only_clears_bits() -> None:
    flash = NorFlash(2)
    flash.writeblocks(0, b"\xf0\x0f", 16)
    flash.writeblocks(0, b"\x70\x0f", 16)
    assert content(flash, 0, 4, 15) == b"\xff\x70\x0f\xff"
    with pytest.raises(RuleError, match="not erased at byte 16"):
        flash.writeblocks(0, b"\x80", 16)
    flash.ioctl(6, 0)
    flash.writeblocks(0, b"\x80", 16)
    assert content(flash, 0, 1, 16) == b"\x80"


def test_what_is_beyond_a_block_is_refused() -> None:
    flash = NorFlash(2)
    for block, offset in ((2, 0), (0, BLOCK_BYTES - 1), (0, -1)):
        with pytest.raises(RuleError, match="block"):
            flash.writeblocks(block, b"ab", offset)


def test_each_page_and_each_erase_is_an_operation_that_is_counted_and_takes_its_time() -> None:
    flash = NorFlash(2)
    flash.log = []
    took = []
    flash.spend = took.append
    flash.writeblocks(1, bytes(PAGE_BYTES + 2), 100)
    flash.ioctl(6, 1)
    at = BLOCK_BYTES + 100
    rest = PAGE_BYTES - 100
    assert flash.log == [
        (PROGRAM, at, bytes(rest)),
        (PROGRAM, BLOCK_BYTES + PAGE_BYTES, bytes(102)),
        (ERASE, BLOCK_BYTES, b""),
    ]
    assert list(flash.programs) == [0, 2]
    assert list(flash.erases) == [0, 1]
    assert took == [400, 400, 45000]


def test_a_log_played_on_the_image_of_before_gives_the_image_of_after() -> None:
    flash = NorFlash(2)
    flash.writeblocks(0, bytes(range(200)), 50)
    before, flash.log = bytearray(flash.image), []
    flash.ioctl(6, 0)
    flash.writeblocks(0, bytes(range(100)), 0)
    for operation in flash.log:
        apply(before, operation)
        apply(before, (operation[0], operation[1], operation[2]))  # repeated: as once
    assert before == flash.image


@pytest.mark.parametrize("how", TEARS)
@pytest.mark.parametrize(
    "operation", [(PROGRAM, 256, bytes(range(1, 65))), (ERASE, 0, b"")], ids=["program", "erase"]
)
def test_a_torn_operation_leaves_nothing_but_bits_of_before_and_after(
    how: str | int, operation: tuple[int, int, bytes]
) -> None:
    image = bytearray(2 * BLOCK_BYTES)
    image[:] = b"\x5a" * len(image) if operation[0] == ERASE else b"\xff" * len(image)
    before, after = bytearray(image), bytearray(image)
    apply(after, operation)
    tear(image, operation, how)
    for old, is_now, new in zip(before, image, after, strict=True):
        assert (is_now ^ old) & ~(old ^ new) == 0, "a bit changed that was not to change"
    assert image != after
    assert (image == before) == (how == "before")
    if isinstance(how, int):
        n = BLOCK_BYTES if operation[0] == ERASE else 64
        assert image[operation[1] :][: n * how // 16] == after[operation[1] :][: n * how // 16]


def test_the_random_tears_differ() -> None:
    torn = []
    for how in ("bits0", "bits1", "bits2"):
        image = bytearray(BLOCK_BYTES)
        tear(image, (ERASE, 0, b""), how)
        torn.append(bytes(image))
        assert 0.4 < int.from_bytes(image).bit_count() / (8 * BLOCK_BYTES) < 0.6
    assert len(set(torn)) == 3


def test_a_cut_tears_the_operation_and_leaves_the_chip_dead() -> None:
    flash = NorFlash(1)
    flash.cut_at, flash.cut_how = 1, 8
    flash.writeblocks(0, bytes(16))
    with pytest.raises(PowerCut):
        flash.writeblocks(0, bytes(16), 16)
    with pytest.raises(PowerCut):
        flash.readblocks(0, bytearray(1))
    with pytest.raises(PowerCut):
        flash.writeblocks(0, b"a")
    with pytest.raises(PowerCut):
        flash.ioctl(6, 0)
    assert flash.image[:40] == bytes(24) + b"\xff" * 16


def test_worn_blocks_fail_as_they_are_told() -> None:
    flash = NorFlash(3)
    flash.worn = {0: "erase", 1: "program", 2: 0x10}
    assert flash.ioctl(6, 0) == -errno.EIO
    flash.writeblocks(0, b"\x01")
    flash.ioctl(6, 1)
    assert flash.writeblocks(1, b"\x01") == -errno.EIO
    flash.writeblocks(2, b"\x31")  # asks for the stuck bit to be set: it is 0
    assert content(flash, 2, 2) == b"\x21\xff"
    assert flash.ioctl(6, 2) == 0
    assert flash.writeblocks(2, b"\x31") == 0
    assert content(flash, 2, 2) == b"\x21\xef"
