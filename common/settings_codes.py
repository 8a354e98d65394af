"""Numbers in the registers of model SETTINGS; as ``codes``, but boards need not carry the names.

``firmware.remote_settings`` has the same numbers as constants, and a test holds them to these.
"""


class SettingsState:
    """Whether settings may be written now (``SetSt``)."""

    READY = 1
    SLOWED = 2  # after failed tries; ``Wait`` tells for how long
    WRITTEN = 3  # and will be judged within a second
    TRIAL = 4  # the measuring chip is being configured with them
    NO_KEY = 5  # nothing is ever taken: no device.key, or no source of randomness


class SettingsResult:
    """What became of the settings written last (``SetRes``)."""

    NONE = 0
    APPLIED = 1
    PENDING = 2
    REFUSED_RESPONSE = 3  # wrong key, an old challenge, or another set than was signed
    REFUSED_VALUE = 4  # past the hard limit of ``Ref1``
    REFUSED_SET = 5  # ``Ref1`` contradicts ``Ref2``
    REFUSED_STORAGE = 6
    REFUSED_AFE = 7  # the measuring chip does not take them
    REFUSED_CONNECTED = 8  # the switches are to be open
    REFUSED_SLOWED = 9
    REFUSED_NO_KEY = 10


class SettingsSource:
    """Where the settings in force come from (``SetSrc``)."""

    FILE = 1
    REMOTE = 2  # set over Modbus
    SET_ASIDE = 3  # the file: what was set over Modbus does not fit it any more
