"""CPACE-X25519-SHA512 against the vectors of draft-irtf-cfrg-cpace-21, appendices A and B.1."""

import pytest

from udpconf.proto import cpace

SECRET = b"Password"
CHANNEL = bytes.fromhex("6f630b425f726573706f6e6465720b415f696e69746961746f72")
SESSION = bytes.fromhex("7e4b4791d6a8ef019b936c79fb7f2c57")
GENERATOR = bytes.fromhex("64e8099e3ea682cfdc5cb665c057ebb514d06bf23ebc9f743b51b82242327074")
SCALAR_A = bytes.fromhex("21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995b319097153044080")
SCALAR_B = bytes.fromhex("848b0779ff415f0af4ea14df9dd1d3c29ac41d836c7808896c4eba19c51ac40a")
SHARE_A = bytes.fromhex("1b02dad6dbd29a07b6d28c9e04cb2f184f0734350e32bb7e62ff9dbcfdb63d15")
SHARE_B = bytes.fromhex("20cda5955f82c4931545bcbf40758ce1010d7db4db2a907013d79c7a8fcf957f")
SHARED_POINT = bytes.fromhex("f97fdfcfff1c983ed6283856a401de3191ca919902b323c5f950c9703df7297a")
SESSION_KEY = bytes.fromhex(
    "a051ee5ee2499d16da3f69f430218b8ea94a18a45b67f9e86495b382c33d14a5"
    "c38cecc0cc834f960e39e0d1bf7d76b9ef5d54eecc5e0f386c97ad12da8c3d5f"
)

# Points of low order, and points that would be if bit 255 were not cleared; None: the exchange must be given up.
WEAK_SCALAR = bytes.fromhex("af46e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449aff")
WEAK_POINTS = {
    "u0": ("0000000000000000000000000000000000000000000000000000000000000000", None),
    "u1": ("0100000000000000000000000000000000000000000000000000000000000000", None),
    "u2": ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", None),
    "u3": ("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", None),
    "u4": ("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", None),
    "u5": ("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", None),
    "u6": (
        "daffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "d8e2c776bbacd510d09fd9278b7edcd25fc5ae9adfba3b6e040e8d3b71b21806",
    ),
    "u7": ("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", None),
    "u8": (
        "dbffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "c85c655ebe8be44ba9c0ffde69f2fe10194458d137f09bbff725ce58803cdb38",
    ),
    "u9": (
        "d9ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "db64dafa9b8fdd136914e61461935fe92aa372cb056314e1231bc4ec12417456",
    ),
    "ua": (
        "cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
        "e062dcd5376d58297be2618c7498f55baa07d7e03184e8aada20bca28888bf7a",
    ),
    "ub": (
        "4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
        "993c6ad11c4c29da9a56f7691fd0ff8d732e49de6250b6c2e80003ff4629a175",
    ),
}


def test_strings_are_joined_with_their_lengths_as_the_draft_does() -> None:
    assert cpace.length_value(b"") == b"\x00"
    assert cpace.length_value(b"1234") == bytes.fromhex("0431323334")
    assert cpace.length_value(bytes(range(127))) == b"\x7f" + bytes(range(127))
    assert cpace.length_value(bytes(range(128))) == b"\x80\x01" + bytes(range(128))
    assert cpace.length_value(b"1234", b"5", b"", b"6789") == bytes.fromhex("04313233340135000436373839")


def test_the_generator_string_is_the_drafts() -> None:
    string = cpace.generator_string(SECRET, CHANNEL, SESSION)
    assert len(string) == 172
    assert string.startswith(bytes.fromhex("0843506163653235350850617373776f72646d") + bytes(109))
    assert string.endswith(b"\x1a" + CHANNEL + b"\x10" + SESSION)


def test_a_long_secret_needs_no_padding() -> None:
    assert cpace.generator_string(bytes(200), b"", b"") == b"\x08CPace255\xc8\x01" + bytes(200) + bytes(3)


def test_the_generator_is_the_drafts() -> None:
    assert cpace.generator(SECRET, CHANNEL, SESSION) == GENERATOR


def test_both_shares_and_the_shared_point_are_the_drafts() -> None:
    assert cpace.exchange(SCALAR_A, GENERATOR) == SHARE_A
    assert cpace.exchange(SCALAR_B, GENERATOR) == SHARE_B
    assert cpace.exchange(SCALAR_A, SHARE_B) == SHARED_POINT
    assert cpace.exchange(SCALAR_B, SHARE_A) == SHARED_POINT


def test_the_session_key_is_the_drafts() -> None:
    key = cpace.intermediate_session_key(SESSION, SHARED_POINT, SHARE_A, b"ADa", SHARE_B, b"ADb")
    assert key == SESSION_KEY


@pytest.mark.parametrize("name", WEAK_POINTS)
def test_a_weak_point_gives_up_the_exchange_and_a_merely_odd_one_is_computed(name: str) -> None:
    point, result = WEAK_POINTS[name]
    expected = None if result is None else bytes.fromhex(result)
    assert cpace.exchange(WEAK_SCALAR, bytes.fromhex(point)) == expected


def test_every_input_changes_the_generator() -> None:
    variants = {
        cpace.generator(SECRET, CHANNEL, SESSION),
        cpace.generator(SECRET + b"!", CHANNEL, SESSION),
        cpace.generator(SECRET, CHANNEL + b"!", SESSION),
        cpace.generator(SECRET, CHANNEL, SESSION + b"!"),
        cpace.generator(SECRET, CHANNEL + SESSION, b""),
    }
    assert len(variants) == 5
