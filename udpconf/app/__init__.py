"""Wiring only: a server and a sender put together from the layers below."""
