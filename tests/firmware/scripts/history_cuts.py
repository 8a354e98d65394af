"""Run on MicroPython: cut the power at every operation of flash while history writes and rotates.

    micropython history_cuts.py [STRIDE]

The real littlefs on simulated flash, segments made small so that they rotate. Each operation of
the flash is torn in every way there is (one in STRIDE of all cuts is tried); then the board
starts, all that was acknowledged must be there, nothing may be wrong, and it must go on. The last
line: cuts tried, records read, errors.
"""

import os
import sys
from struct import unpack_from

from common import models
from common.history_records import (
    CHAIN_BYTES,
    PACKET_HEAD,
    PACKET_HEAD_BYTES,
    Coder,
    Record,
    next_chain,
)
from common.registers import RegisterMap
from firmware import history as history_module
from firmware.history import History
from firmware.snapshot import Snapshot
from sim.flash import TEARS, NorFlash, apply, tear

N_CELLS = 4
N_BLOCKS = 24
UTC_S = 1790000000
history_module.SEGMENT_BYTES = 2200
history_module._RESERVE_BYTES = 0


class Settings:
    serial = "EB-1"
    n_cells = N_CELLS
    rated_mah = 50000
    history_every_s = 60
    history_kb = 14  # three segments of a block


class Nothing:
    active = 0
    last_fault = None
    last_fault_value = None
    soc_bp = 5000
    soh_bp = None
    soh_age_s = None


class Board:
    """A board that starts on the mounted flash."""

    def __init__(self, boot, sent):
        self.map = RegisterMap(N_CELLS)
        self.snapshot = Snapshot(N_CELLS)
        self.history = History("/flash", Settings, self.map.block(models.HISTORY), boot)
        self.sent = sent
        add = self.history._add

        def noted(run_s, utc_s):
            added = add(run_s, utc_s)
            if added:
                number = self.history._record.number
                sent[number] = self.history._record.canonical()
            return added

        self.history._add = noted

    def run(self, minutes):
        s = self.snapshot
        nothing = Nothing()
        for _ in range(minutes):
            s.seq += 1
            s.uptime_s += 60
            s.valid = True
            s.delta_uah = -24000
            s.current_ma = -1440 + s.seq % 5
            for i in range(N_CELLS):
                s.cell_mv[i] = 3700 - s.seq + (s.seq * 31 + i * 17) % 5
            self.history.cycle(s, nothing, nothing, UTC_S + s.uptime_s)
            if s.seq % 30 == 7:
                self.history.command(3, 1)
            for _turn in range(3):
                self.history.store(s.uptime_s)

    def first(self):
        folder = self.history._folder
        return folder.firsts[0] if folder.firsts else self.history.file.last + 1

    def read(self):
        """``{number: canonical bytes}`` of all there is, and how often the chain disagrees."""
        found = {}
        disagrees = 0
        chain = None
        expected = asked = 1
        into = bytearray(248)
        record = Record(N_CELLS)
        while asked <= self.history.file.last:
            words = self.history.file.read(1, asked, 124, into, 0)
            assert words == 124, words
            _v, _crc, answered, first, count, chained = unpack_from(PACKET_HEAD, into, 0)
            assert answered == asked
            at = PACKET_HEAD_BYTES
            if chained:
                told = bytes(into[at : at + CHAIN_BYTES])
                at += CHAIN_BYTES
                if chain is not None and first == expected and told != chain:
                    disagrees += 1
                chain = told
            elif first != expected:
                chain = None
            coder = Coder(N_CELLS)
            for number in range(first, first + count):
                at = coder.decode(into, at, 248, record)
                record.number = number
                found[number] = record.canonical()
                if chain is not None:
                    chain = next_chain(chain, found[number])
            asked = expected = first + count
        return found, disagrees


def mounted(flash):
    os.mount(os.VfsLfs2(flash, progsize=256), "/flash")


def recorded():
    """The flash before, its operations, what was sent, and what was acknowledged when."""
    flash = NorFlash(N_BLOCKS)
    os.VfsLfs2.mkfs(flash, progsize=256)
    before = bytearray(flash.image)
    flash.log = []
    mounted(flash)
    sent = {}
    acknowledged = [(0, 0, 1)]
    for boot in (1, 2):
        board = Board(boot, sent)
        for _ in range(190):
            board.run(1)
            acknowledged.append((len(flash.log), board.history.file.last, board.first()))
    os.umount("/flash")
    return before, flash.log, sent, acknowledged


def main(stride):
    image, log, sent, acknowledged = recorded()
    last = first = tried = read = errors = 0
    turn = 0
    for k in range(len(log)):
        while acknowledged and acknowledged[0][0] <= k:
            _k, last, first = acknowledged.pop(0)
        next_first = acknowledged[0][2] if acknowledged else first
        for how in TEARS:
            turn += 1
            if turn % stride:
                continue
            torn = bytearray(image)
            tear(torn, log[k], how)
            flash = NorFlash(0, torn)
            mounted(flash)
            known = dict(sent)
            board = Board(9, known)
            found, disagrees = board.read()
            wrong = [n for n in found if found[n] != sent.get(n)]
            lost = [n for n in range(max(first, next_first), last + 1) if n not in found]
            went_on = board.history.file.last
            board.run(12)
            later, more = board.read()
            wrong += [n for n in later if later[n] != known[n]]
            lost += [n for n in found if n >= board.first() and n not in later]
            if wrong or lost or disagrees or more or board.history.file.last <= went_on:
                errors += 1
                print("cut", k, how, "wrong", wrong, "lost", lost, "chain", disagrees, more)
            tried += 1
            read += len(found) + len(later)
            os.umount("/flash")
        apply(image, log[k])
    print("operations", len(log), "segments from", first, "to", last)
    print("cuts", tried, "records", read, "errors", errors)


main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
