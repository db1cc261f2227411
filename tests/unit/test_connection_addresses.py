"""Which address of a host is tried: the next one only when handshake datagrams stay unanswered."""

import pytest

from udpconf.app.connection import _DrivenClient
from udpconf.limits import MS
from udpconf.proto.client import ClientEndpoint
from udpconf.proto.client_config import ClientConfig
from udpconf.proto.events import MAIN_PATH
from udpconf.proto.server import ServerEndpoint
from udpconf.proto.server_config import ServerConfig

ADDRESS = ("192.0.2.1", 40_000)
STEP_US = 1 * MS


@pytest.mark.parametrize("one_way_ms", [1, 30, 60, 100])
def test_a_server_that_answers_slowly_is_not_given_up_for_the_next_address(one_way_ms: int) -> None:
    counter = iter(range(1, 1 << 20))

    def entropy(size: int) -> bytes:
        return next(counter).to_bytes(size, "big")

    silences: list[int] = []
    client = ClientEndpoint(ClientConfig("a b c d e", "cam", audio=False), 0, 0, entropy)
    driven = _DrivenClient(client, lambda: silences.append(now_us))
    server = ServerEndpoint(ServerConfig("a b c d e"), 0, 0, entropy)
    under_way: list[tuple[int, bool, bytes]] = []
    now_us = 0
    while client.state != "connected" and now_us < 3000 * MS:
        for _, to_server, data in [one for one in under_way if one[0] <= now_us]:
            if to_server:
                server.handle_datagram(now_us, MAIN_PATH, ADDRESS, data)
            else:
                driven.handle_datagram(now_us, MAIN_PATH, ADDRESS, data, now_us)
        under_way = [one for one in under_way if one[0] > now_us]
        for endpoint in (driven, server):
            at_us = endpoint.poll_timeout()
            if at_us is not None and at_us <= now_us:
                endpoint.handle_timeout(now_us)
        while (transmit := driven.poll_transmit()) is not None:
            under_way.append((now_us + one_way_ms * MS, True, transmit.data))
        while server.poll_event() is not None:
            pass
        while (transmit := server.poll_transmit()) is not None:
            under_way.append((now_us + one_way_ms * MS, False, transmit.data))
        now_us += STEP_US
    assert client.state == "connected"
    assert silences == []
