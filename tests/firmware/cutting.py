"""Cuts the power in every operation of a medium: record once, replay each cut. For MicroPython.

    medium = Flash(progsize=256)
    life = Life(medium)                      # from here on what is saved is known
    storage = life.storage()
    storage.save("boot", b"1")
    for cut in life.cuts(): ...              # sets the medium to what that cut left
        life.check(medium.storage())

A medium keeps ``log``, of operations that may be torn, and can be set to what a cut leaves.
"""

import binascii
import os

import firmware.fram
import firmware.storage
from firmware.board import Board
from firmware.fram import Fram
from firmware.storage import Storage
from sim import flash, fram

PLACE = "/cut"


def crc32(data, start, end, before=0):
    """``common.crc.crc32`` by the interpreter's own: most of what a campaign would wait for."""
    return binascii.crc32(memoryview(data)[start:end], before)


firmware.fram.crc32 = firmware.storage.crc32 = crc32


class Flash:
    """littlefs on simulated NOR flash, mounted at ``PLACE``."""

    def __init__(self, progsize=256, n_blocks=16):
        self.progsize = progsize
        self.strict = True
        self.chip = flash.NorFlash(n_blocks)
        os.VfsLfs2.mkfs(self.chip, progsize=progsize)
        self.use(self.chip.image)

    def use(self, image):
        """Switch on with this content, which is changed in place."""
        self.off()
        chip = flash.NorFlash(image=image)
        chip.log = []
        chip.strict = self.strict
        os.mount(os.VfsLfs2(chip, progsize=self.progsize), PLACE)
        self.chip = chip
        self.image = image

    def off(self):
        try:  # noqa: SIM105
            os.umount(PLACE)  # of whatever medium was there
        except OSError:
            pass  # none

    @property
    def log(self):
        return self.chip.log

    def storage(self):
        return Storage(PLACE)

    def tears(self, operation, every):
        """Ways in which a cut can tear an operation: ``every`` byte of it, or a few."""
        if every is None:
            return ("before", 8, "bits0")
        if every and operation[0] == flash.PROGRAM:
            return [(n,) for n in range(len(operation[2]))] + ["bits0", "bits1", "bits2"]
        return flash.TEARS

    apply = staticmethod(flash.apply)
    tear = staticmethod(flash.tear)


class FramBoard(Board):
    """No more than the bus with the FRAM."""

    def __init__(self, chip):
        self.i2c = fram.I2C(chip)


class FramMedium:
    """The FRAM chip; an operation is a byte that is written."""

    def __init__(self):
        self.use(bytearray(fram.N_BYTES))

    def use(self, image):
        self.chip = fram.FramChip(image)
        self.chip.log = []
        self.image = image

    def off(self):
        pass

    @property
    def log(self):
        return self.chip.log

    def storage(self):
        return Fram("/nowhere", FramBoard(self.chip))

    def tears(self, operation, every):
        return (0, 0x0F, 0x55, 0xAA, 0xC3) if every else (0x3A,)

    @staticmethod
    def apply(image, operation):
        image[operation[0]] = operation[1]

    @staticmethod
    def tear(image, operation, bits):
        at, byte = operation
        image[at] = image[at] & ~bits | byte & bits


class Life:
    """What was saved on a medium, and until which operation."""

    def __init__(self, medium, known=None):
        self.medium = medium
        self.before = bytearray(medium.image)
        self.saves = []  # name, data, first operation, operation behind its last
        self.known = known or {}  # name: what it may be as this begins
        del medium.log[:]

    def storage(self):
        return self.watch(self.medium.storage())

    def watch(self, storage):
        """Note what this one saves."""
        save_parts = storage.save_parts
        log = self.medium.log

        def noted(name, length, parts):
            data = b"".join(parts)
            assert len(data) == length
            at = len(log)
            save_parts(name, length, (data,))
            self.saves.append((name, data, at, len(log)))

        storage.save_parts = noted
        return storage

    def allowed(self, cut):
        """``{name: what may be read}`` when operation ``cut`` is the one that is torn."""
        may = dict(self.known)
        for name, data, begin, end in self.saves:
            if end <= cut:
                may[name] = (data,)
            elif begin <= cut:
                may[name] = may.get(name, (None,)) + (data,)  # noqa: RUF005  MicroPython has no unpacking
        return may

    def cuts(self, every=False, first=0, stride=1):
        """Yield each cut as (operation, how), with the medium as it is behind it.

        ``every`` is for ``tears``; from operation ``first`` on, each ``stride``-th is cut.
        """
        medium = self.medium
        log = list(medium.log)
        image = self.before
        torn = bytearray(len(image))
        for k, operation in enumerate(log):
            if k >= first and (k - first) % stride == 0:
                for how in medium.tears(operation, every):
                    medium.off()
                    torn[:] = image
                    medium.tear(torn, operation, how)
                    medium.use(torn)
                    yield k, how
            medium.apply(image, operation)

    def check(self, storage, k, how):
        """Nothing that was acknowledged is lost, nothing else is read; what is read."""
        may = self.allowed(k)
        found = {}
        for name in may:
            found[name] = storage.load(name)
            assert found[name] in may[name], (k, how, name, found[name], may[name])
        assert not storage.damaged, (k, how)
        return found
