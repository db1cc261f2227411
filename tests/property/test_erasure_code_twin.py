"""zfec and its NumPy twin make the same bytes of whatever data, and both give it back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX, ErasureCode

FAST = ErasureCode()
TWIN = ErasureCode(use_zfec=False)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_block_survives_any_loss_it_has_parity_for(data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 40))
    length = data.draw(st.integers(1, 20))
    shards = data.draw(st.lists(st.binary(min_size=length, max_size=length), min_size=k, max_size=k))
    indexes = data.draw(
        st.lists(st.integers(k, SHARDS_PER_BLOCK_MAX - 1), min_size=1, max_size=10, unique=True)
    )
    parity = FAST.encode(k, shards, indexes)
    assert TWIN.encode(k, shards, indexes) == parity
    every = list(enumerate(shards)) + list(zip(indexes, parity, strict=True))
    survivors = dict(data.draw(st.permutations(every))[:k])
    assert FAST.decode(k, survivors) == shards
    assert TWIN.decode(k, survivors) == shards
