"""How long a conversion takes and how quiet it is, by rate.

Times in microseconds, typical, from the command to the end of calibration. LTC6804, tables 5 to
9 and 35, for the rates it has (the LTC681x keep them); 422 Hz, 1 kHz and ten channels from
recollection of the LTC6813-1's tables; seven and two channels interpolated.
"""

from .commands import Command

_RATES = (("422Hz", "1kHz"), ("27kHz", "14kHz"), ("7kHz", "3kHz"), ("26Hz", "2kHz"))  # by MD
SLOWEST = 2480 / 2335  # the most that a conversion may take over its typical time

_CHANNELS = (1, 4, 6, 8, 10)
_TIMES_US: dict[str, tuple[int, ...]] = {
    "27kHz": (201, 748, 1113, 1564, 1825),
    "14kHz": (230, 865, 1288, 1736, 2116),
    "7kHz": (405, 1563, 2335, 3133, 3862),
    "3kHz": (521, 2028, 3033, 4064, 5025),
    "2kHz": (754, 2959, 4430, 5925, 7353),
    "1kHz": (1219, 4821, 7230, 9648, 12007),
    "422Hz": (2149, 8543, 12816, 17096, 21316),
    "26Hz": (33568, 134218, 201317, 268442, 335498),
}
CELL_US = {rate: times[2] / 6 for rate, times in _TIMES_US.items()}  # one cell of six
# 5 V / 2^bits peak to peak; the noise-free bits from recollection of "ADC modes"
_NOISE_FREE_BITS = {
    "27kHz": 10,
    "14kHz": 10,
    "7kHz": 14,
    "3kHz": 14,
    "2kHz": 15,
    "1kHz": 15,
    "422Hz": 15,
    "26Hz": 16,
}
NOISE_V = {rate: 5.0 / 2**bits / 6.6 for rate, bits in _NOISE_FREE_BITS.items()}

_N_CHANNELS = {
    "ADCV": 6, "ADOW": 6, "CVST": 6, "ADOL": 2,
    "ADAX": 10, "ADAXD": 10, "AXOW": 10, "AXST": 10,
    "ADSTAT": 4, "ADSTATD": 4, "STATST": 4,
    "ADCVAX": 8, "ADCVSC": 7,
}  # fmt: skip
DIAGN_US = 400.0


def rate_of(md: int, adcopt: int) -> str:
    """The rate that MD and ADCOPT choose."""
    return _RATES[md][adcopt]


def conversion_us(command: Command, rate: str) -> float:
    """The longest time ``command`` may take, without the reference's start."""
    n = _N_CHANNELS[command.name]
    if command.channel:
        # GPIO1 to GPIO4 are measured together with GPIO6 to GPIO9
        n = 2 if n == 10 and command.channel < 5 else 1
    times = _TIMES_US[rate]
    for i, known in enumerate(_CHANNELS):
        if known == n:
            return times[i] * SLOWEST
        if known > n:
            low, high = _CHANNELS[i - 1], known
            share = (n - low) / (high - low)
            return (times[i - 1] + share * (times[i] - times[i - 1])) * SLOWEST
    raise AssertionError(command.name)


def self_test_code(rate: str, test: int) -> int:
    """What a working converter reports in self test 1 or 2 (LTC6804, table 35)."""
    if test == 1:
        return {"27kHz": 0x9565, "14kHz": 0x9553}.get(rate, 0x9555)
    return {"27kHz": 0x6A9A, "14kHz": 0x6AAC}.get(rate, 0x6AAA)
