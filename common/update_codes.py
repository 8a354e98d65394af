"""Numbers in the registers of model UPDATE; as ``codes``, but boards need not carry the names.

``firmware.update`` and ``firmware.loader`` have the same numbers as constants, and a test holds
them to these.
"""


class UpdateState:
    """How far an update is (``UpSt``)."""

    UNSUPPORTED = 1  # the board was not started by the loader, or has no update.key
    IDLE = 2  # nothing is under way; ``Have`` bytes of an image are there, maybe all
    RECEIVING = 3
    CHECKING = 4
    READY = 5  # the image may be started: ``Command.START_UPDATE``
    TRIAL = 6  # it runs, and has not said that it is healthy


class UpdateResult:
    """What became of the last update (``UpRes``)."""

    NONE = 0
    DONE = 1  # the image is healthy and stays
    NOT_HEALTHY = 2  # it was not in its time, and the former one was taken back
    DAMAGED = 3  # the image does not match its SHA-256
    REFUSED_FORMAT = 4  # it does not begin as an image does
    REFUSED_SIGNATURE = 5
    REFUSED_VERSION = 6  # older than one that was healthy here
    REFUSED_BOARD = 7  # for another interpreter, board or front end
    STORAGE = 8  # flash does not take it
    ABANDONED = 9  # by command
