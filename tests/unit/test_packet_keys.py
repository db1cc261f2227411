"""HKDF, the AEADs and the null key of the simulator."""

from itertools import product

import pytest

from tests.handshaking import entropy
from udpconf.proto.crypto import (
    SUITES,
    AeadPacketKey,
    Direction,
    NullPacketKey,
    Suite,
    agree,
    hkdf_expand,
    hkdf_extract,
)
from udpconf.wire.envelope import TAG_BYTES, Channel

HEADER = bytes.fromhex("8001020304000007")


def test_hkdf_is_rfc_5869s() -> None:
    # appendix A.1
    pseudorandom_key = hkdf_extract(bytes(range(13)), b"\x0b" * 22)
    assert pseudorandom_key == bytes.fromhex(
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    )
    assert hkdf_expand(pseudorandom_key, bytes(range(0xF0, 0xFA)), 42) == bytes.fromhex(
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_sealed_opens_and_carries_a_tag(suite: Suite) -> None:
    key = AeadPacketKey(suite, bytes(32))
    sealed = key.seal(7, HEADER, b"a picture")
    assert len(sealed) == len(b"a picture") + TAG_BYTES
    assert key.open(7, HEADER, sealed) == b"a picture"


@pytest.mark.parametrize("suite", SUITES)
def test_another_number_header_or_key_opens_nothing(suite: Suite) -> None:
    key = AeadPacketKey(suite, bytes(32))
    sealed = key.seal(7, HEADER, b"a picture")
    assert key.open(8, HEADER, sealed) is None
    assert key.open(7 + (1 << 24), HEADER, sealed) is None
    assert key.open(7, HEADER[:-1] + b"\x08", sealed) is None
    assert AeadPacketKey(suite, bytes(31) + b"\x01").open(7, HEADER, sealed) is None


@pytest.mark.parametrize("suite", SUITES)
def test_anything_shorter_than_a_tag_opens_nothing(suite: Suite) -> None:
    key = AeadPacketKey(suite, bytes(32))
    for length in range(TAG_BYTES + 1):
        assert key.open(0, HEADER, bytes(length)) is None


def test_the_highest_packet_number_still_makes_a_nonce() -> None:
    key = AeadPacketKey(Suite.AES_256_GCM, bytes(32))
    number = (1 << 62) - 1
    assert key.open(number, HEADER, key.seal(number, HEADER, b"x")) == b"x"


def test_the_null_key_keeps_the_sizes_and_nothing_secret() -> None:
    key = NullPacketKey()
    assert key.seal(0, HEADER, b"x") == b"x" + bytes(16)
    assert key.open(0, HEADER, b"x" + bytes(16)) == b"x"
    assert key.open(0, HEADER, b"x" * 17) is None
    assert key.open(0, HEADER, b"") is None


def test_every_direction_channel_and_the_accept_have_keys_of_their_own() -> None:
    random = entropy(1)
    agreement = agree(random(32), random(1200), random(48), Suite.AES_256_GCM, null_cipher=False)
    keys = [agreement.keys.key(direction, channel) for direction, channel in product(Direction, Channel)]
    keys.append(agreement.accept_key)
    for sealing, opening in product(keys, keys):
        opened = opening.open(0, HEADER, sealing.seal(0, HEADER, b"x"))
        assert (opened == b"x") == (sealing is opening)


def test_every_byte_of_the_transcript_changes_the_keys() -> None:
    random = entropy(2)
    point, hello, accept = random(32), random(1200), random(48)
    sealed = agree(point, hello, accept, Suite.AES_256_GCM, null_cipher=False).seal_parameters(b"x")
    for place in range(109):
        other = hello[:place] + bytes((hello[place] ^ 1,)) + hello[place + 1 :]
        theirs = agree(point, other, accept, Suite.AES_256_GCM, null_cipher=False)
        assert theirs.open_parameters(sealed) is None, f"HELLO byte {place}"
    for place in range(48):
        other = accept[:place] + bytes((accept[place] ^ 1,)) + accept[place + 1 :]
        theirs = agree(point, hello, other, Suite.AES_256_GCM, null_cipher=False)
        assert theirs.open_parameters(sealed) is None, f"ACCEPT byte {place}"
    padded = hello[:109] + bytes(1091)
    assert agree(point, padded, accept, Suite.AES_256_GCM, null_cipher=False).open_parameters(sealed) == b"x"
