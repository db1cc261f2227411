"""Any k shards of a block give its data back, with zfec and without, with the same bytes."""

import random

import pytest
import zfec

from udpconf.errors import LocalProtocolError
from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX, ErasureCode

FAST = ErasureCode()
TWIN = ErasureCode(use_zfec=False)


def block(rng: random.Random, k: int, length: int) -> list[bytes]:
    return [rng.randbytes(length) for _ in range(k)]


def test_the_two_are_not_the_same_code() -> None:
    assert type(FAST._engine) is not type(TWIN._engine)


def test_both_make_the_same_parity_as_zfec_with_the_least_of_it() -> None:
    rng = random.Random(1)
    for k in (1, 2, 3, 10, 64, 128, 253):
        shards = block(rng, k, 50)
        parity = zfec.Encoder(k, k + 2).encode(shards, [k, k + 1])
        assert FAST.encode(k, shards, [k, k + 1]) == parity
        assert TWIN.encode(k, shards, [k, k + 1]) == parity


def test_a_parity_shard_is_the_same_whatever_else_is_asked_for() -> None:
    rng = random.Random(2)
    shards = block(rng, 12, 77)
    everything = FAST.encode(12, shards, range(12, 255))
    assert TWIN.encode(12, shards, range(12, 255)) == everything
    for index in (12, 13, 100, 253, 254):
        for code in (FAST, TWIN):
            assert code.encode(12, shards, [index]) == [everything[index - 12]]
            assert code.encode(12, shards, [254, index, index]) == [everything[-1]] + 2 * [
                everything[index - 12]
            ]


@pytest.mark.parametrize("seed", range(40))
def test_any_k_shards_are_enough_and_both_agree(seed: int) -> None:
    rng = random.Random(seed)
    k = rng.choice([1, 2, 3, 7, 20, 60, 128, 200, 254])
    shards = block(rng, k, rng.choice([1, 2, 13, 200]))
    indexes = rng.sample(range(k, 255), min(255 - k, rng.randrange(1, 40)))
    parity = FAST.encode(k, shards, indexes)
    assert TWIN.encode(k, shards, indexes) == parity, seed
    every = dict(enumerate(shards)) | dict(zip(indexes, parity, strict=True))
    kept = rng.sample(sorted(every), rng.randrange(k, len(every) + 1))
    available = {index: every[index] for index in kept}
    assert FAST.decode(k, available) == shards, seed
    assert TWIN.decode(k, available) == shards, seed


def test_parity_alone_is_enough() -> None:
    rng = random.Random(3)
    shards = block(rng, 100, 30)
    available = dict(zip(range(120, 220), FAST.encode(100, shards, range(120, 220)), strict=True))
    assert FAST.decode(100, available) == TWIN.decode(100, available) == shards


def test_the_largest_block_has_data_only() -> None:
    shards = block(random.Random(4), SHARDS_PER_BLOCK_MAX, 5)
    for code in (FAST, TWIN):
        assert code.encode(SHARDS_PER_BLOCK_MAX, shards, []) == []
        assert code.decode(SHARDS_PER_BLOCK_MAX, dict(enumerate(shards))) == shards


def test_empty_shards_are_data_as_well() -> None:
    for code in (FAST, TWIN):
        assert code.encode(3, [b"", b"", b""], [3, 7]) == [b"", b""]
        assert code.decode(3, {0: b"", 2: b"", 9: b""}) == [b"", b"", b""]


@pytest.mark.parametrize("code", [FAST, TWIN])
def test_what_cannot_be_coded_is_refused_with_a_sentence(code: ErasureCode) -> None:
    for k, shards, parity in (
        (3, [b"a", b"b"], [3]),
        (2, [b"a", b"bc"], [3]),
        (0, [], [1]),
        (256, [b"a"] * 256, []),
        (2, [b"a", b"b"], [1]),
        (2, [b"a", b"b"], [255]),
        (255, [b"a"] * 255, [255]),
    ):
        with pytest.raises(LocalProtocolError):
            code.encode(k, shards, parity)
    for k, available in (
        (2, {0: b"a"}),
        (2, {0: b"a", 5: b"bc"}),
        (2, {0: b"a", 255: b"b"}),
        (2, {-1: b"a", 1: b"b"}),
        (0, {}),
        (256, {}),
    ):
        with pytest.raises(LocalProtocolError):
            code.decode(k, available)
