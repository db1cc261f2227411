"""The words for what a link does, those of `tc`: one table for scenario files and for command lines.

A description of one direction is a mapping of words to parsed values. ``over`` lays a more particular one on top of a
general one, ``conditions_of`` turns what results into conditions, and ``idle_words`` finds what was said for nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli, GilbertElliott, LossModel, TraceLoss, loss_model
from udpconf.emulation.rate_trace import parse_rate_trace
from udpconf.emulation.units import (
    UnitError,
    parse_duration_us,
    parse_rate_bps,
    parse_share,
    parse_size_bytes,
    shown,
)

DEFAULT_REORDER_US = 10_000
# Minutes of any call: more is an outage, and has its own word.
BURST_MAX = 1_000_000
SHAPES = ", ".join(shape.value for shape in JitterShape)


class Said(NamedTuple):
    """A word's value, and how to name the place where people find it: a table of a file, a flag."""

    where: str
    value: Any


Description = Mapping[str, Said]


# --- values ----------------------------------------------------------------------------------------------------------


def parse_shape(text: str) -> JitterShape:
    """Raises ValueError with a sentence, as all of these do."""
    try:
        return JitterShape(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a shape of jitter: {SHAPES}") from None


def parse_burst(value: float | str) -> float:
    """A mean run of losses in packets: a file's number, or its text on a command line."""
    try:
        packets = 0.0 if isinstance(value, bool) else float(value)
    except (ValueError, TypeError, OverflowError):
        packets = 0.0
    if not 1 <= packets <= BURST_MAX:
        raise ValueError(f"{shown(value)} is not a number of packets, 1 to {BURST_MAX}")
    return packets


def parse_queue(text: str) -> dict[str, int]:
    """The fields of LinkConditions that it sets."""
    with suppress(UnitError):
        return {"queue_us": parse_duration_us(text)}
    with suppress(UnitError):
        return {"queue_bytes": parse_size_bytes(text)}
    raise ValueError(f"{shown(text)} is neither a time such as 300ms nor a size such as 64kB")


def parse_flag(value: bool) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is neither true nor false")  # noqa: TRY004 - a wrong file, not a wrong call
    return value


def parse_loss_trace(text: str) -> TraceLoss:
    digits = "".join(text.split())
    if not digits or set(digits) - {"0", "1"}:
        raise ValueError("it is not a row of 0 (passes) and 1 (lost)")
    return TraceLoss(tuple(digit == "1" for digit in digits))


# --- the table -------------------------------------------------------------------------------------------------------


class Word(NamedTuple):
    """How a word's value is read, and what becomes of it."""

    parse: Callable[[Any], Any]
    field: str | None = None  # of LinkConditions; None: conditions_of knows
    needs: tuple[str, ...] = ()  # it does nothing unless one of these is said too
    replaces: tuple[str, ...] = ()  # of a more general description


WORDS = {
    "delay": Word(parse_duration_us, "delay_us"),
    "jitter": Word(parse_duration_us, "jitter_us"),
    "jitter_shape": Word(parse_shape, "jitter_shape", needs=("jitter",)),
    "jitter_correlation": Word(parse_share, "jitter_correlation", needs=("jitter",)),
    "keep_order": Word(parse_flag, "keep_order"),
    "loss": Word(parse_share, replaces=("loss_trace",)),
    "burst": Word(parse_burst, needs=("loss",)),
    "loss_trace": Word(parse_loss_trace, replaces=("loss", "burst")),
    "outage": Word(parse_flag),
    "rate": Word(parse_rate_bps, "rate_bps", replaces=("rate_trace",)),
    "rate_burst": Word(parse_size_bytes, "burst_bytes", needs=("rate",)),
    "rate_trace": Word(parse_rate_trace, "rate_trace", replaces=("rate", "rate_burst")),
    "queue": Word(parse_queue, needs=("rate", "rate_trace")),
    "reorder": Word(parse_share, "reorder"),
    "reorder_delay": Word(parse_duration_us, "reorder_us", needs=("reorder",)),
    "duplicate": Word(parse_share, "duplicate"),
    "corrupt": Word(parse_share, "corrupt"),
}


def over(*descriptions: Description) -> Description:
    """The later, more particular ones on top of the earlier ones."""
    result: dict[str, Said] = {}
    for description in descriptions:
        for word in description:
            for other in WORDS[word].replaces:
                result.pop(other, None)
        result.update(description)
    return result


def conditions_of(description: Description) -> LinkConditions:
    """What one direction does to packets.

    Raises:
        ValueError: the words cannot go together; a sentence.
    """
    values = {word: said.value for word, said in description.items()}
    fields: dict[str, Any] = {"reorder_us": DEFAULT_REORDER_US} if "reorder" in values else {}
    fields |= values.get("queue", {})
    fields |= {field: values[word] for word in values if (field := WORDS[word].field) is not None}
    conditions = LinkConditions(loss=_loss(values), **fields)
    conditions.validate()
    return conditions


def idle_words(links: Iterable[Description]) -> list[tuple[str, str]]:
    """(where, word) of all that does nothing in any of these links, which lack what it needs.

    What is said of several links may be meant for one of them: a queue for both directions, of which one has a rate.
    """
    helps: dict[tuple[str, str], bool] = {}
    for link in links:
        for word, said in link.items():
            needs = WORDS[word].needs
            here = not needs or any(other in link for other in needs)
            helps[said.where, word] = here or helps.get((said.where, word), False)
    return [place for place, somewhere in helps.items() if not somewhere]


def _loss(values: Mapping[str, Any]) -> LossModel:
    model = _usual_loss(values)
    if not values.get("outage"):
        return model
    # A model of bursts goes on below the outage: what it does afterwards must not depend on when that ended.
    return (
        model._replace(loss_good=1.0, loss_bad=1.0) if isinstance(model, GilbertElliott) else Bernoulli(1.0)
    )


def _usual_loss(values: Mapping[str, Any]) -> LossModel:
    if "loss_trace" in values and ("loss" in values or "burst" in values):
        raise ValueError("both loss and loss_trace say what is lost; leave one of them out")
    if "loss_trace" in values:
        trace: TraceLoss = values["loss_trace"]
        return trace
    share = values.get("loss", 0.0)
    return loss_model(share, values.get("burst") if share > 0 else None)
