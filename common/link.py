"""How a board on the desk talks to the simulated world: one request, one answer, over a socket.

The board (MicroPython's unix port) is the client of a UNIX stream socket. All numbers are
little-endian. Request: ``op u8, length u16, slept_us u32, payload``; answer: ``status u8, ms u64,
us u16, length u16, payload``, where ``ms`` and ``us`` (0 to 999) are the board's virtual time when
the operation ended. Virtual time passes only inside operations and in short sleeps, which nothing
can tell from the outside: what the board has slept since its last request, less than two seconds,
goes with the next one and passes before it. The board's code itself takes no virtual time.

| op | request payload | answer payload |
|---|---|---|
| HELLO | serial number, UTF-8 | reset cause u8 (``codes.ResetCause``) |
| I2C | address u8, bytes to read u16, bytes to write | bytes read |
| WAIT | until_us u64 | |
| UART_READ | most bytes u16 | bytes |
| UART_WRITE | bytes | |
| WATCHDOG | timeout_ms u32 | no answer |
| NOW | | |
| SPI | bytes out | as many bytes in |
| SPI_WRITE | bytes out | no answer |
| DRIVE | switch lines u8 (``codes.Switch``) | |
| FEEDBACK | | feedback lines u8 (``codes.Switch``) |
| I2C_CLOCKS | | |

WAIT ends at ``until_us`` or as soon as the UART has received something. UART_WRITE drives the
line until the last character has left and answers then. I2C writes, then reads after a repeated
start; status NACK when the device did not acknowledge, TIMEOUT when the bus hung. I2C_CLOCKS sends
nine clocks and a stop. SPI and SPI_WRITE are one transfer with chip select low. A board without
SPI and switch lines of its own is REJECTED there. RECEIVED stands beside any status while UART
bytes wait to be read. What has no answer may wait in the board until the next request goes with
it. A board whose watchdog ran out finds its socket closed.
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
DRIVE = const(9)
FEEDBACK = const(10)
I2C_CLOCKS = const(11)
SPI_WRITE = const(12)

OK = const(0)
NACK = const(1)
TIMEOUT = const(2)
REJECTED = const(3)
RECEIVED = const(0x80)

REQUEST_HEADER = "<BHI"
REQUEST_HEADER_BYTES = const(7)
ANSWER_HEADER = "<BQHH"
ANSWER_HEADER_BYTES = const(13)
SLEEP_LIMIT_US = const(2000000)
