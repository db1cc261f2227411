"""Scenarios that nobody means, given to the programs themselves: a sentence and the documented exit code."""

import subprocess
from pathlib import Path

import pytest

from tests.loopback.lab_net import lab
from tests.loopback.program import run

APPLY = Path(__file__).parents[2] / "netem" / "apply"
NASTY = {
    "digits": f'[link]\ndelay = "{400 * "9"}ms"',
    "many-digits": f"[link]\nburst = {5000 * '9'}",
    "hex": f"[link]\nloss = '1%'\nburst = 0x{5000 * 'f'}",
    "endless-burst": "[link]\nloss = '1%'\nburst = inf",
    "late": f'[[step]]\nat = "{400 * "9"}s"',
    "nul": '[link]\nrate_trace = { file = "a\\u0000b" }',
}


@pytest.mark.parametrize("name", NASTY)
def test_every_program_answers_a_nasty_file_with_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.toml"
    path.write_text('title = "A test"\nsource = "Made up."\n' + NASTY[name])
    by_apply = subprocess.run(
        [APPLY, "--print", str(path), "lo"], capture_output=True, text=True, timeout=60, check=False
    )
    by_lab = lab(str(path), "--", "true", "--", "true")
    by_proxy = run("proxy", "--to", "127.0.0.1:5000", "--scenario", str(path))
    for done in (by_apply, by_lab, by_proxy):
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        said = " ".join(done.stderr.split())
        assert f"The scenario {path}: " in said
        assert said.endswith(".")
        assert "Traceback" not in said


def test_a_flag_of_hundreds_of_digits_is_wrong_use() -> None:
    number = 400 * "9"
    for flag in (("--delay", f"{number}ms"), ("--rate", f"{number}mbit"), ("--loss", f"{number}%")):
        for done in (run("proxy", "--to", "127.0.0.1:5000", *flag), lab(*flag, "--", "true", "--", "true")):
            assert (done.returncode, done.stdout) == (2, ""), done.stderr
            assert "'999" in done.stderr
            assert "Traceback" not in done.stderr
