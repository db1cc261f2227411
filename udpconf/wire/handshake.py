"""The four datagrams of the handshake, byte by byte: HELLO, RETRY, ACCEPT, REJECT (docs/protocol.md).

    HELLO   type 1 | version | suites | mode | client connection id 8 | key share 32 | room selector 8
            | cookie length | cookie 40 | mac1 16 | zeros to 1200 bytes
    RETRY   type 2 | version | 0 0 | client connection id 8 | cookie 40 | mac 12
    ACCEPT  type 3 | version | suite | mode | client connection id 8 | session id u32 | key share 32
            | sealed parameters 48 | tag 16
    REJECT  type 4 | version | reason | 0 | client connection id 8 | zeros 4 | mac 16

The macs are a noise filter, as in WireGuard; their key is public, since one made from the passphrase would let whoever
sees a single datagram try passphrases at home. What authenticates is the tag of the ACCEPT.
"""

import hmac
import struct
from enum import IntEnum
from typing import NamedTuple

from udpconf.limits import (
    DATAGRAM_DEFAULT_BYTES,
    FRAME_MAX_BYTES,
    PICTURE_MAX_HEIGHT,
    PICTURE_MAX_WIDTH,
)
from udpconf.wire.envelope import MalformedPacket

WIRE_VERSION = 1
# 5 is kept for a HELLO that carries a ticket.
HELLO, RETRY, ACCEPT, REJECT = 1, 2, 3, 4

CONNECTION_ID_BYTES = 8
KEY_SHARE_BYTES = 32
SELECTOR_BYTES = 8
BOOT_ID_BYTES = 8
COOKIE_BYTES = 40

# Whoever asks sends more than it gets back (9 % at most), so that nobody can be flooded through us.
HELLO_BYTES = 1200
RETRY_BYTES = 64
ACCEPT_BYTES = 112
REJECT_BYTES = 32

# The parts that enter the transcript of the key exchange: a HELLO without its padding, an ACCEPT without its seal.
HELLO_TRANSCRIPT_BYTES = 109
ACCEPT_HEADER_BYTES = 48

_MAC1_BYTES = 16
_RETRY_MAC_BYTES = 12
_REJECT_MAC_BYTES = 16

# type, version, offered suites, mode, client connection id, key share, room selector, cookie length, cookie
_HELLO = struct.Struct(">BBBB8s32s8sB40s")
# type, version, reserved, client connection id, cookie
_RETRY = struct.Struct(">BBH8s40s")
# type, version, suite, mode, client connection id, session id, key share
_ACCEPT_HEADER = struct.Struct(">BBBB8sI32s")
# boot id, max width, max height, max frame bytes, max bitrate kbit/s, max datagram bytes, keepalive s, idle s,
# server clock us, flags, reserved
_PARAMETERS = struct.Struct(">8sHHIIHHHQH12s")
# type, version, reason, reserved, client connection id, reserved
_REJECT = struct.Struct(">BBBB8s4s")


class Mode(IntEnum):
    """What the room's secret is. 3 is kept for a pinned server key."""

    OPEN = 0
    ROOM_KEY = 1  # 256 random bits; reserved, nothing offers it yet
    PASSPHRASE = 2


class RejectReason(IntEnum):
    BUSY = 1  # too many handshakes at once; worth another try
    FULL = 2  # as many clients as the server takes
    VERSION = 3  # it speaks another version of this protocol


class UnknownVersion(MalformedPacket):
    """A HELLO of another version. Type, version and connection id stand at the same place in all of them."""

    def __init__(self, client_connection_id: bytes) -> None:
        super().__init__("hello version")
        self.client_connection_id = client_connection_id


class Hello(NamedTuple):
    suites: int  # bits of crypto.Suite
    mode: int
    client_connection_id: bytes  # 8 bytes, fresh for each handshake
    key_share: bytes  # 32 bytes
    selector: bytes  # 8 bytes, which room
    cookie: bytes  # empty, or 40 bytes


class Retry(NamedTuple):
    client_connection_id: bytes
    cookie: bytes


class AcceptHeader(NamedTuple):
    suite: int
    mode: int
    client_connection_id: bytes
    session_id: int
    key_share: bytes


class ServerParameters(NamedTuple):
    """What a server tells under seal before anything else."""

    boot_id: bytes  # 8 random bytes of this run; another one means that the server restarted
    max_width: int = PICTURE_MAX_WIDTH
    max_height: int = PICTURE_MAX_HEIGHT
    max_frame_bytes: int = FRAME_MAX_BYTES
    max_bitrate_kbps: int = 0  # 0: no limit of the server's own
    max_datagram_bytes: int = DATAGRAM_DEFAULT_BYTES
    keepalive_s: int = 1
    idle_s: int = 15


class Reject(NamedTuple):
    reason: RejectReason
    client_connection_id: bytes


def encode_hello(hello: Hello, mac1_key: bytes) -> bytes:
    body = _HELLO.pack(
        HELLO,
        WIRE_VERSION,
        hello.suites,
        hello.mode,
        hello.client_connection_id,
        hello.key_share,
        hello.selector,
        len(hello.cookie),
        hello.cookie,
    )
    return (body + _mac(mac1_key, body, _MAC1_BYTES)).ljust(HELLO_BYTES, b"\0")


def decode_hello_untrusted(datagram: bytes, mac1_key: bytes) -> Hello:
    """Read a HELLO; raises UnknownVersion, which is a MalformedPacket, for one that another version wrote."""
    if len(datagram) != HELLO_BYTES or datagram[0] != HELLO:
        raise MalformedPacket("hello length")
    if datagram[1] != WIRE_VERSION:
        raise UnknownVersion(datagram[4 : 4 + CONNECTION_ID_BYTES])
    _check_mac(datagram[:HELLO_TRANSCRIPT_BYTES], mac1_key, _MAC1_BYTES)
    _, _, suites, mode, connection_id, key_share, selector, cookie_length, cookie = _HELLO.unpack_from(
        datagram
    )
    if cookie_length not in {0, COOKIE_BYTES}:
        raise MalformedPacket("cookie length")
    return Hello(suites, mode, connection_id, key_share, selector, cookie[:cookie_length])


def encode_retry(retry: Retry, mac1_key: bytes) -> bytes:
    body = _RETRY.pack(RETRY, WIRE_VERSION, 0, retry.client_connection_id, retry.cookie)
    return body + _mac(mac1_key, body, _RETRY_MAC_BYTES)


def decode_retry_untrusted(datagram: bytes, mac1_key: bytes) -> Retry:
    _check_start(datagram, RETRY, RETRY_BYTES)
    _check_mac(datagram, mac1_key, _RETRY_MAC_BYTES)
    _, _, _, connection_id, cookie = _RETRY.unpack_from(datagram)
    return Retry(connection_id, cookie)


def encode_accept_header(header: AcceptHeader) -> bytes:
    return _ACCEPT_HEADER.pack(ACCEPT, WIRE_VERSION, *header)


def decode_accept_untrusted(datagram: bytes) -> AcceptHeader:
    """Read the part in the clear; the rest of the datagram is the sealed ServerParameters."""
    _check_start(datagram, ACCEPT, ACCEPT_BYTES)
    _, _, suite, mode, connection_id, session_id, key_share = _ACCEPT_HEADER.unpack_from(datagram)
    return AcceptHeader(suite, mode, connection_id, session_id, key_share)


def encode_parameters(parameters: ServerParameters, server_us: int) -> bytes:
    """Return the 48 bytes to seal. ``server_us`` is the server's monotonic clock when it accepted."""
    return _PARAMETERS.pack(*parameters, server_us, 0, b"")


def decode_parameters_untrusted(plaintext: bytes) -> tuple[ServerParameters, int]:
    """Read the unsealed parameters and the server's clock; what is reserved is ignored, so that it can be used one day."""
    if len(plaintext) != _PARAMETERS.size:
        raise MalformedPacket("parameters length")
    *fields, server_us, _, _ = _PARAMETERS.unpack(plaintext)
    return ServerParameters(*fields), server_us


def encode_reject(reject: Reject, mac1_key: bytes) -> bytes:
    body = _REJECT.pack(REJECT, WIRE_VERSION, reject.reason, 0, reject.client_connection_id, b"")
    return body + _mac(mac1_key, body, _REJECT_MAC_BYTES)


def decode_reject_untrusted(datagram: bytes, mac1_key: bytes) -> Reject:
    """Read a REJECT of any version: it may be the one that says that ours is not spoken there."""
    if len(datagram) != REJECT_BYTES or datagram[0] != REJECT:
        raise MalformedPacket("reject length")
    _check_mac(datagram, mac1_key, _REJECT_MAC_BYTES)
    _, _, reason, _, connection_id, _ = _REJECT.unpack_from(datagram)
    try:
        return Reject(RejectReason(reason), connection_id)
    except ValueError:
        raise MalformedPacket("reject reason") from None


def _check_start(datagram: bytes, kind: int, length: int) -> None:
    if len(datagram) != length or datagram[0] != kind:
        raise MalformedPacket("handshake length")
    if datagram[1] != WIRE_VERSION:
        raise MalformedPacket("handshake version")


def _mac(key: bytes, body: bytes, length: int) -> bytes:
    return hmac.digest(key, body, "sha256")[:length]


def _check_mac(datagram: bytes, key: bytes, length: int) -> None:
    """The mac is the last ``length`` bytes and covers all before it."""
    if not hmac.compare_digest(_mac(key, datagram[:-length], length), datagram[-length:]):
        raise MalformedPacket("mac")
