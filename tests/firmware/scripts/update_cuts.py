"""Run on MicroPython: an update on simulated flash, with the power cut everywhere.

    update_cuts.py exhaustive FOLDER STEP
    update_cuts.py random FOLDER N SEED

FOLDER holds ``old``, ``new`` and ``newer``, images of growing version, and ``update.key``. Before
each cut the board runs one image; after it the board must start a whole one, the old or the new,
and the sender goes on until the new one is healthy. ``exhaustive`` cuts at every STEP-th operation
of the flash in every way there is, and at every piece that is sent; ``random`` goes to and fro
between updates. Prints how many cuts were made.
"""

import gc
import os
import random
import sys

from common import models
from common.registers import RegisterMap
from firmware import loader
from firmware.update import Update
from sim.flash import TEARS, NorFlash, PowerCut

CHUNK = 240
DIGEST_AT = 24  # in an image
ROOT = "/board"
UNSUPPORTED, IDLE, RECEIVING, CHECKING, READY, TRIAL = range(1, 7)
BLOCK = RegisterMap(3).block(models.UPDATE)


def read(path):
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()


class Board:
    """A board with its flash; ``known`` are the images that may ever be started."""

    def __init__(self, flash, known):
        self.flash = flash
        self.known = known
        self.boots = 0
        self.boot()

    def boot(self):
        """Start, as after power-on or a reset."""
        self.boots += 1
        if self.boots > 1:
            os.umount(ROOT)
        self.update = None
        gc.collect()
        self.flash = NorFlash(image=self.flash.image)
        os.mount(os.VfsLfs2(self.flash, progsize=256), ROOT)
        slot = loader.choose(ROOT)
        self.running = read(loader.image_path(ROOT, slot))
        assert self.running in self.known, str(slot)
        loader.slot = slot
        self.update = Update(BLOCK, ROOT, "unix", "bq76952", loader)

    def power_cut(self):
        """Start after a cut; the chip keeps what it has."""
        self.flash.cut_at = -1
        self.boot()


def send(board, image):
    """One step of bringing ``image`` onto the board; whether it runs and is healthy."""
    update = board.update
    state = BLOCK.get("UpSt")
    have = BLOCK.get("Have")
    if state == TRIAL:
        update.step(1000, 60)
        if board.running == image and BLOCK.get("UpSt") != TRIAL:
            assert loader.Record(ROOT).trial == loader.NONE
        return False
    if board.running == image:
        return True
    at = 2 * BLOCK.layout.offset("Img1")
    same = BLOCK.bytes()[at : at + 8] == image[DIGEST_AT : DIGEST_AT + 8]
    if state == CHECKING:
        update.step(1000, 0)
    elif state == READY:
        assert same
        update.start()
        update.step(1000, 0)
        if update.restart:
            board.boot()
    elif state == RECEIVING and BLOCK.get("Size") is not None and not same:
        update.abandon()
        update.step(1000, 0)
    else:
        if state == IDLE:
            have = len(image) - CHUNK if same and have == len(image) else 0
        end = min(have + CHUNK, len(image))
        if have < loader.FIRST_BYTES:
            end = min(end, loader.FIRST_BYTES)
        if update.receive(have, image, have, end - have) or end == len(image):
            update.step(1000, 0)
    return False


def finish(board, image):
    """Bring the image onto the board; how many steps it took."""
    for n in range(20000):
        if send(board, image):
            return n
    raise AssertionError("never ends")


def new_board(old, key, known):
    flash = NorFlash(3 * (len(old) + len(known[-1])) // 4096)
    os.VfsLfs2.mkfs(flash, progsize=256)
    os.mount(os.VfsLfs2(flash, progsize=256), ROOT)
    for name, data in (("image.0", old), ("update.key", key)):
        with open(ROOT + "/" + name, "wb") as file:  # noqa: PTH123
            file.write(data)
    os.umount(ROOT)
    return Board(flash, known)


def exhaustive(folder, step):
    old, new, key = (read(folder + "/" + name) for name in ("old", "new", "update.key"))
    board = new_board(old, key, (old, new))
    before = bytearray(board.flash.image)
    n_steps = finish(board, new)
    os.umount(ROOT)
    n_cuts = n_operations = 0

    # A restart at every piece that is sent, and at every other step.
    board = Board(NorFlash(image=bytearray(before)), (old, new))
    for n in range(0, n_steps, step):
        for _ in range(n):
            send(board, new)
        board.boot()
        n_cuts += 1
        finish(board, new)
        os.umount(ROOT)
        board = Board(NorFlash(image=bytearray(before)), (old, new))
    os.umount(ROOT)

    # A cut at every operation of the flash, counted over the restarts that belong to an update.
    at = 0
    while True:
        for how in TEARS:
            board = Board(NorFlash(image=bytearray(before)), (old, new))
            left = at
            seen = 0
            cut = False
            board.flash.cut_at, board.flash.cut_how = left, how
            try:
                while not send(board, new):
                    if board.flash.cut_at < 0:  # it was started anew, with a counter of its own
                        left -= seen
                        board.flash.cut_at, board.flash.cut_how = max(left, 0), how
                    seen = board.flash.n_operations
            except PowerCut:
                cut = True
                board.power_cut()
            finish(board, new)
            os.umount(ROOT)
            n_cuts += cut
            if not cut:
                print("steps", n_steps, "operations", n_operations, "cuts", n_cuts)
                return
        n_operations += 1
        at += step


def at_random(folder, n, seed):
    names = ("old", "new", "newer")
    images = [read(folder + "/" + name) for name in names]
    board = new_board(images[0], read(folder + "/update.key"), images)
    random.seed(seed)
    n_updates = n_cuts = 0
    while n_cuts < n:
        n_updates += 1
        # To and fro: the record's lowest version is set back, as only who has the flash can.
        record = loader.Record(ROOT)
        record.lowest = 0
        record.save()
        board.boot()
        image = images[n_updates % 3]
        while n_cuts < n:
            board.flash.cut_at = random.randint(0, 60)
            board.flash.cut_how = TEARS[random.randint(0, len(TEARS) - 1)]
            try:
                done = False
                while not done and board.flash.cut_at >= 0:
                    done = send(board, image)
            except PowerCut:
                n_cuts += 1
                board.power_cut()
                continue
            if done:
                break
        board.flash.cut_at = -1
        finish(board, image)
        assert board.running == image
    print("cuts", n_cuts, "updates", n_updates)


if sys.argv[1] == "exhaustive":
    exhaustive(sys.argv[2], int(sys.argv[3]))
else:
    at_random(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
