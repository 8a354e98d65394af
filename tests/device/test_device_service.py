"""The device seen from the gateway's side of the wire, desk or board."""

import socket
import struct

from common import models
from common.registers import Layout


def read_model(client, device, address, words):
    answer = client.read_holding_registers(address, count=words, device_id=device.address)
    assert not answer.isError(), answer
    return b"".join(register.to_bytes(2, "big") for register in answer.registers)


def locate(client, device):
    """``{model id: (address, words)}`` by walking the chain."""
    at, found = models.BASE_ADDRESS + 2, {}
    while True:
        header = read_model(client, device, at, 2)
        model_id, length = int.from_bytes(header[:2], "big"), int.from_bytes(header[2:], "big")
        if model_id == models.END:
            return found
        found[model_id] = (at, length + 2)
        at += length + 2


def test_the_firmware_says_who_it_is_when_it_starts(device, spoken):
    device.truth()
    spoken.expect(r"echelon \d+\.\d+\.\d+ unix DUT-1 boot 1")


def test_identification_names_product_and_version(device):
    with device.client() as client:
        answer = client.read_device_information(read_code=1, object_id=0, device_id=device.address)
        assert answer.information[0] == b"Echelon"
        assert answer.information[2].count(b".") == 2


def test_sequence_advances_and_stands_at_both_ends(device):
    with device.client() as client:
        address, words = locate(client, device)[models.SNAPSHOT]
        layout = None
        seen = []
        for _ in range(5):
            data = read_model(client, device, address, words)
            n_cells = words - Layout(models.SNAPSHOT, 0).words
            layout = layout or Layout(models.SNAPSHOT, n_cells)
            decoded = layout.decode(data)
            assert decoded["Seq"] == decoded["SeqEnd"]
            seen.append(decoded["Seq"])
        assert seen == sorted(seen)


def test_a_reading_is_recalled_in_the_transaction_that_asks_for_it(device):
    """Function code 23 writes which reading is wanted and reads it."""
    with device.client() as client:
        chain = locate(client, device)
        address, words = chain[models.DEVICE]
        device_block = Layout(models.DEVICE, 0).decode(read_model(client, device, address, words))
        wanted = device_block["RecLast"]
        control, _ = chain[models.CONTROL]
        recall, recall_words = chain[models.RECALL]
        n_cells = recall_words - Layout(models.RECALL, 0).words
        answer = client.readwrite_registers(
            read_address=recall,
            read_count=recall_words,
            write_address=control + Layout(models.CONTROL, 0).offset("RecSel"),
            values=[wanted >> 16, wanted & 0xFFFF],
            device_id=device.address,
        )
        assert not answer.isError(), answer
        data = b"".join(register.to_bytes(2, "big") for register in answer.registers)
        reading = Layout(models.RECALL, n_cells).decode(data)
        assert reading["Seq"] == reading["SeqEnd"] == wanted
        assert wanted % device_block["RecEvery"] == 0


def test_tcp_answers_pipelined_requests_in_order(device):
    device.truth()
    requests = b"".join(
        struct.pack(">HHHBBHH", tid, 0, 6, device.address, 3, 40000, 2) for tid in range(1, 9)
    )
    with socket.create_connection(("127.0.0.1", device.tcp_port), timeout=10) as connection:
        connection.sendall(requests)
        answers = b""
        while len(answers) < 8 * 13:
            more = connection.recv(1024)
            assert more
            answers += more
    tids = [struct.unpack_from(">H", answers, 13 * n)[0] for n in range(8)]
    assert tids == list(range(1, 9))
