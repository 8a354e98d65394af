"""How a board on the desk talks to the simulated world: one request, one answer, over a socket.

The board (MicroPython's unix port) is the client of a UNIX stream socket. All numbers are
little-endian. Request: ``op u8, length u16, payload``; answer: ``status u8, time_us u64, length
u16, payload``, where ``time_us`` is the board's virtual time when the operation ended. Virtual
time passes only inside operations; between them the board's code takes no virtual time.

| op | request payload | answer payload |
|---|---|---|
| HELLO | serial number, UTF-8 | reset cause u8 (``codes.ResetCause``) |
| I2C | address u8, bytes to read u16, bytes to write | bytes read |
| WAIT | until_us u64 | 1 if UART bytes wait to be read, else 0 (u8) |
| UART_READ | most bytes u16 | bytes |
| UART_WRITE | bytes | |
| WATCHDOG | timeout_ms u32 | |
| NOW | | |
| SPI | bytes out | as many bytes in |
| SLEEP_US | duration_us u32, a second at most | |
| DRIVE | switch lines u8 (``codes.Switch``) | |
| FEEDBACK | | feedback lines u8 (``codes.Switch``) |
| I2C_CLOCKS | | |

WAIT ends at ``until_us`` or as soon as the UART has received something. UART_WRITE drives the
line until the last character has left and answers then. I2C writes, then reads after a repeated
start; status NACK when the device did not acknowledge, TIMEOUT when the bus hung. I2C_CLOCKS sends
nine clocks and a stop. SPI is one transfer with chip select low. SLEEP_US ends at its time
whatever the UART receives. A board without SPI and switch lines of its own is REJECTED there. A
board whose watchdog ran out finds its socket closed.
"""

from common.mp import const

HELLO = const(1)
I2C = const(2)
WAIT = const(3)
UART_READ = const(4)
UART_WRITE = const(5)
WATCHDOG = const(6)
NOW = const(7)
SPI = const(8)
SLEEP_US = const(9)
DRIVE = const(10)
FEEDBACK = const(11)
I2C_CLOCKS = const(12)

OK = const(0)
NACK = const(1)
TIMEOUT = const(2)
REJECTED = const(3)

REQUEST_HEADER = "<BH"
REQUEST_HEADER_BYTES = const(3)
ANSWER_HEADER = "<BQH"
ANSWER_HEADER_BYTES = const(11)
