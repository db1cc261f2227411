"""What a bad network is like, for the line that a run begins with."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from udpconf.emulation.link import LinkConditions
    from udpconf.emulation.loss import LossModel
    from udpconf.emulation.scenario import Scenario


def in_words(scenario: "Scenario") -> str:
    """``the network dsl (DSL: ...)``, or what the single conditions are, which hold in both directions."""
    if scenario.source:  # only a file has one
        return f"the network {scenario.name} ({scenario.title})"
    said = _conditions(scenario.steps[0].up)
    return f"a network with {said} each way" if said else "a network that changes nothing"


def _conditions(link: "LinkConditions") -> str:
    from udpconf.emulation.link import DEFAULT_QUEUE_US

    loss = _loss(link.loss)
    queue = f"{link.queue_bytes} bytes"
    if link.queue_bytes is None:
        queue = _ms(DEFAULT_QUEUE_US if link.queue_us is None else link.queue_us)
    said = [
        (link.delay_us, f"{_ms(link.delay_us)} of delay"),
        (link.jitter_us, f"up to {_ms(link.jitter_us)} of jitter"),
        (loss, loss),
        (link.rate_bps, f"{(link.rate_bps or 0) / 1_000_000:g} Mbit/s and a queue of {queue}"),
        (link.reorder, f"{_percent(link.reorder)} held back for {_ms(link.reorder_us)}"),
        (link.duplicate, f"{_percent(link.duplicate)} doubled"),
        (link.corrupt, f"{_percent(link.corrupt)} damaged"),
    ]
    return ", ".join(words for value, words in said if value)


def _loss(model: "LossModel") -> str:
    from udpconf.emulation.loss import Bernoulli, GilbertElliott

    match model:
        case Bernoulli(share=share):
            return f"{_percent(share)} lost"
        case GilbertElliott(p_bad_to_good=end):
            runs = f" in runs of {1 / end:g}" if end > 0 else ""
            return f"{_percent(model.bad_share)} lost{runs}"
    return ""


def _ms(us: int) -> str:
    return f"{us / 1000:g} ms"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
