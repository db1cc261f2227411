"""One whole handshake and one packet of each key, byte by byte. docs/protocol.md quotes these datagrams.

The room's passphrase is "tall otter cedar". The n-th draw from either side's source of randomness is the byte n, as
often as it takes: a client draws connection id (1), scalar (2), and one byte of chance a HELLO (3, 4); a server boot id
(1), cookie secret (2), secret id (3), session id (4), scalar (5). The client sits at 198.51.100.7 port 40000; the
server's clock shows 0x1234 s when it bakes the cookie and 0x1235 s when it accepts.
"""

import pytest

from tests.handshaking import ADDRESS, established, room, sent
from udpconf.limits import SECOND
from udpconf.proto.client_handshake import ClientHandshake
from udpconf.proto.cpace import exchange
from udpconf.proto.crypto import Direction, Suite, agree
from udpconf.proto.listener import HandshakeListener
from udpconf.wire.envelope import Channel, Envelope, encode_envelope
from udpconf.wire.handshake import Reject, RejectReason, ServerParameters, encode_reject
from udpconf.wire.packet_number import truncate


def hex_of(commented: str) -> bytes:
    return bytes.fromhex("".join(line.split("#")[0] for line in commented.splitlines()))


FIRST_HELLO = hex_of("""
    01 01 03 02                # HELLO, version 1, offers AES-256-GCM and ChaCha20-Poly1305, mode passphrase
    0101010101010101           # client connection id
    edcb5f31a069f0695a6862b2d008c80b5d20d30730f3e8d3be2e68adb4c36276    # key share
    75bf1e7a0163d82a           # room selector: the room without a name
    00                         # no cookie
    0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000
    f0a403546abf6e954c0b1c6946d5c576    # mac1 over all before it; 1091 zeros follow
""").ljust(1200, b"\0")

RETRY = hex_of("""
    02 01 0000                 # RETRY, version 1
    0101010101010101           # client connection id
    00001234 03030303          # cookie: server's seconds, secret id
    adafb76de1712d595abcab2b7feabf5b55bd18494712d25367d2a2e6bbfa5b16    # and its HMAC
    d551307def9e9e56576818df   # mac over all before it
""")

SECOND_HELLO = hex_of("""
    01 01 03 02
    0101010101010101
    edcb5f31a069f0695a6862b2d008c80b5d20d30730f3e8d3be2e68adb4c36276
    75bf1e7a0163d82a
    28                         # a cookie of 40 bytes
    00001234 03030303 adafb76de1712d595abcab2b7feabf5b55bd18494712d25367d2a2e6bbfa5b16
    9b790f09738bcc0ed17a27dea7700fd1
""").ljust(1200, b"\0")

ACCEPT = hex_of("""
    03 01 01 02                # ACCEPT, version 1, AES-256-GCM, mode passphrase
    0101010101010101           # client connection id
    04040404                   # session id
    3061e29413e7ad38cfe36a687508a2d4703433c6e5e20fc504580bdb58fcab5e    # key share
    ffad51909c4920927daefead8d0f9871ef7aa85f86cf9e7d0388e911ad4227c3    # sealed parameters
    c811dde8eb8486c48cb8090871aafea5
    83658fd8e671c784a5c06bce9a8345aa    # tag
""")

PARAMETERS = hex_of("""
    0101010101010101           # boot id
    0f00 0870                  # pictures up to 3840 x 2160
    00800000                   # and 8 MiB
    00000000                   # no ceiling of the server's own, kbit/s
    04b0 0001 000f             # datagrams of 1200 bytes, keepalive 1 s, dropped after 15 s
    0000000115d13740           # server's clock, microseconds
    0000 000000000000000000000000
""")

REJECT = hex_of("""
    04 01 02 00                # REJECT, version 1, full
    0101010101010101 00000000  # client connection id
    f8ff8aa8fb4dd61cb9747a646d15cc61    # mac over all before it
""")

# Packet number 0x1000005, of which 000005 travels; the plaintext is "hello".
PACKETS = {
    (Direction.CLIENT_TO_SERVER, Channel.MAIN): hex_of("""
        80 04040404 000005         # epoch 0, main channel, to the session id
        c4cc38fa0c                 # ciphertext
        b67a4c8ffb788ff2cc9945f98c49d232    # tag
    """),
    (Direction.CLIENT_TO_SERVER, Channel.AUDIO): hex_of("""
        90 04040404 000005         # audio channel
        82b1eb43ee
        3b00d313a5920b77c1b7b6bffc2e133b
    """),
    (Direction.SERVER_TO_CLIENT, Channel.MAIN): hex_of("""
        80 01010101 000005         # to the first half of the client connection id
        f155820d51
        9a9b490560358bd5da7ce85d3b1dad49
    """),
    (Direction.SERVER_TO_CLIENT, Channel.AUDIO): hex_of("""
        90 01010101 000005
        f8f6f22cb6
        7faec177082c4111ad03eecfb9ffd7da
    """),
}


class Draws:
    """The n-th draw is the byte n."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, length: int) -> bytes:
        self.number += 1
        return bytes((self.number,)) * length


def golden_listener() -> HandshakeListener:
    return HandshakeListener(
        room("tall otter cedar"), 0x1234 * SECOND, Draws(), in_use=lambda _: False, is_full=lambda: False
    )


def golden_client() -> ClientHandshake:
    return ClientHandshake(room("tall otter cedar"), 0, Draws())


def test_a_handshake_is_these_four_datagrams() -> None:
    client, listener = golden_client(), golden_listener()
    assert sent(client) == FIRST_HELLO
    assert listener.handle_datagram(0x1234 * SECOND, ADDRESS, FIRST_HELLO) == RETRY
    client.handle_datagram(0, RETRY)
    assert sent(client) == SECOND_HELLO
    assert listener.handle_datagram(0x1235 * SECOND, ADDRESS, SECOND_HELLO) == ACCEPT
    client.handle_datagram(0, ACCEPT)
    session = established(client)
    assert session.session_id == 0x04040404
    assert session.server_time_us == 0x1235 * SECOND
    assert session.parameters == ServerParameters(boot_id=bytes((1,)) * 8)


def test_the_sealed_parameters_are_these_48_bytes() -> None:
    point = exchange(bytes((2,)) * 32, ACCEPT[16:48])
    assert point is not None
    agreement = agree(point, SECOND_HELLO, ACCEPT, Suite.AES_256_GCM, null_cipher=False)
    assert agreement.open_parameters(ACCEPT[48:]) == PARAMETERS


def test_a_reject_is_these_32_bytes() -> None:
    reject = encode_reject(Reject(RejectReason.FULL, bytes((1,)) * 8), room("tall otter cedar").mac1_key)
    assert reject == REJECT


@pytest.mark.parametrize(("direction", "channel"), PACKETS)
def test_a_protected_packet_is_these_bytes(direction: Direction, channel: Channel) -> None:
    client = golden_client()
    client.poll_transmit()
    client.handle_datagram(0, RETRY)
    client.handle_datagram(0, ACCEPT)
    key = established(client).keys.key(direction, channel)
    towards_server = direction is Direction.CLIENT_TO_SERVER
    header = encode_envelope(
        Envelope(0, channel, 0x04040404 if towards_server else 0x01010101, truncate(0x1000005))
    )
    packet = PACKETS[direction, channel]
    assert header + key.seal(0x1000005, header, b"hello") == packet
    assert key.open(0x1000005, packet[:8], packet[8:]) == b"hello"
