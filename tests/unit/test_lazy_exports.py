"""`import udpconf` is cheap, and still everything public is there."""

import subprocess
import sys

import pytest

import udpconf


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = (
        "import sys, udpconf; "
        "print([name for name in ('cv2', 'av', 'numpy', 'cryptography', 'asyncio') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_every_public_name_resolves() -> None:
    for name in udpconf.__all__:
        assert getattr(udpconf, name) is not None
    assert set(udpconf.__all__) == set(dir(udpconf))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Sevrer'"):
        _ = udpconf.Sevrer
