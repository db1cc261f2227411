"""Which packets a link loses: nothing, independently (Bernoulli), in bursts (Gilbert 1960, Elliott 1963), or as
recorded.

A model is an immutable description; its state lives with the link, which passes it in and takes it back. Each packet
costs exactly two random numbers whatever the model, so the fate of packet n depends on the seed and n alone, also when
the model is exchanged on the way.
"""

from typing import NamedTuple, Protocol, Self


class LossModel(Protocol):
    """What a link asks for each packet, in the order they were sent."""

    def step(
        self, number: int, state: int | None, uniform_state: float, uniform_loss: float
    ) -> tuple[int | None, bool]:
        """Whether this packet is lost.

        Args:
            number: the packet's, counted from 0 over everything that was sent on the link.
            state: what the previous call returned; None before the first packet.
            uniform_state: a fresh random number in [0, 1), for where the model goes.
            uniform_loss: another one, for whether the packet is lost there.

        Returns:
            The state to pass in with the next packet, and True if this one is lost.
        """
        ...

    def validate(self) -> None:
        """Raise ValueError, with a sentence, if a parameter is out of range."""
        ...


class NoLoss(NamedTuple):
    """Every packet passes."""

    def step(
        self, number: int, state: int | None, uniform_state: float, uniform_loss: float
    ) -> tuple[int | None, bool]:
        return None, False

    def validate(self) -> None:
        pass


class Bernoulli(NamedTuple):
    """Each packet is lost with the same probability, whatever happened to the one before."""

    share: float  # 0..1

    def step(
        self, number: int, state: int | None, uniform_state: float, uniform_loss: float
    ) -> tuple[int | None, bool]:
        return None, uniform_loss < self.share

    def validate(self) -> None:
        check_probability("loss", self.share)


GOOD = 0
BAD = 1


class GilbertElliott(NamedTuple):
    """A link with a good and a bad state; it may change state before each packet.

    The first packet meets the states in their long-run shares, so the statistics hold from the first packet on.
    """

    p_good_to_bad: float  # 0..1, before each packet
    p_bad_to_good: float
    loss_good: float = 0.0  # share lost in the good state
    loss_bad: float = 1.0

    @classmethod
    def from_share_and_burst(cls, share: float, mean_burst: float) -> Self:
        """The model that loses this share of all packets in runs of this mean length (Gilbert's: all is lost when bad).

        A mean burst of 1 / (1 - share) gives the same as Bernoulli; 1 means that no two losses are neighbours.

        Raises:
            ValueError: the share is not in 0..1, the burst shorter than a packet, or the two cannot go together.
        """
        check_probability("loss", share)
        if mean_burst < 1:
            raise ValueError(f"a mean loss burst is at least 1 packet long, not {mean_burst:g}")
        if share == 1:
            return cls(1.0, 0.0)
        p_good_to_bad = share / (1 - share) / mean_burst
        if p_good_to_bad > 1:
            raise ValueError(
                f"a loss of {share:.1%} needs bursts of at least {share / (1 - share):.2f} packets, not {mean_burst:g}"
            )
        return cls(p_good_to_bad, 1 / mean_burst)

    @property
    def bad_share(self) -> float:
        """Long-run share of packets that meet the bad state. It starts in the good state if it can never change."""
        change = self.p_good_to_bad + self.p_bad_to_good
        return self.p_good_to_bad / change if change > 0 else 0.0

    def step(
        self, number: int, state: int | None, uniform_state: float, uniform_loss: float
    ) -> tuple[int | None, bool]:
        if state is None:
            bad = uniform_state < self.bad_share
        elif state == BAD:
            bad = uniform_state >= self.p_bad_to_good
        else:
            bad = uniform_state < self.p_good_to_bad
        if bad:
            return BAD, uniform_loss < self.loss_bad
        return GOOD, uniform_loss < self.loss_good

    def validate(self) -> None:
        check_probability("p_good_to_bad", self.p_good_to_bad)
        check_probability("p_bad_to_good", self.p_bad_to_good)
        check_probability("loss_good", self.loss_good)
        check_probability("loss_bad", self.loss_bad)


class TraceLoss(NamedTuple):
    """What was seen somewhere, packet by packet, over and over. It goes on by the packet's number after another model."""

    pattern: tuple[bool, ...]  # True: lost

    def step(
        self, number: int, state: int | None, uniform_state: float, uniform_loss: float
    ) -> tuple[int | None, bool]:
        return None, self.pattern[number % len(self.pattern)]

    def validate(self) -> None:
        if not self.pattern:
            raise ValueError("a loss trace has at least one packet")


def loss_model(share: float, mean_burst: float | None = None) -> LossModel:
    """The simplest model with this share of loss (0..1) and, if given, this mean burst length in packets.

    Raises:
        ValueError: out of range.
    """
    check_probability("loss", share)
    if mean_burst is not None:
        return GilbertElliott.from_share_and_burst(share, mean_burst)
    return Bernoulli(share) if share > 0 else NoLoss()


def check_probability(name: str, value: float) -> None:
    """Raise ValueError if this is no probability (NaN neither)."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a share between 0 and 1, not {value:g}")
