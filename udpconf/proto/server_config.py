"""What a server wants of everybody who joins."""

from typing import NamedTuple

from udpconf.limits import CLIENTS_DEFAULT


class ServerConfig(NamedTuple):
    """``passphrase`` None: an open room."""

    passphrase: str | None
    max_clients: int = CLIENTS_DEFAULT
    latency_us: int | None = None
    mux_audio: bool = False
    null_cipher: bool = False  # simulations only
