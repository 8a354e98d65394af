"""Serves Modbus TCP on a port given as argument, until it is killed.

Runs on both interpreters; the test is the client.
"""

import select
import sys

from common.registers import RegisterMap
from firmware.modbus.pdu import Commands, PduServer
from firmware.modbus.tcp import TcpServer

poll = select.poll()
server = TcpServer(PduServer(RegisterMap(4), Commands()), 1)
server.listen("127.0.0.1", int(sys.argv[1]), poll)
print("listening")
while True:
    for key, _event in poll.poll(20000):
        if not server.serve(key):
            raise SystemExit("poll reported what is not the server's")
