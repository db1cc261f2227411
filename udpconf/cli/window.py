"""The window of a verb: one that was asked for by its flag must be possible, the one that comes by itself may be missing."""

from udpconf.errors import DeviceError


def require_display(wanted: bool | None) -> None:
    """Nothing if a window can be shown, or if nobody named the flag.

    Raises:
        DeviceError: a window is wanted, and there is no display for it.
    """
    if not wanted:
        return
    from udpconf.media.display import display_available

    available, why_not = display_available()
    if not available:
        raise DeviceError(why_not)
