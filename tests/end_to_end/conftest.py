"""What tests of whole programs share."""

import pytest
from mqtt_rig import Broker, Subscriber, free_port


@pytest.fixture
def subscriber():
    broker = Broker(free_port())
    try:
        subscriber = Subscriber(broker.port)
        yield subscriber
        subscriber.close()
    finally:
        broker.stop()
