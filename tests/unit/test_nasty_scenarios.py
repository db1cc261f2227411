"""Numbers, names and files that nobody means: each is a sentence, whoever reads the scenario."""

import sys
from pathlib import Path

import pytest

from udpconf.cli.network import named_scenario
from udpconf.emulation import netem_commands, rate_trace, scenario_file, tun_lab
from udpconf.emulation.scenario import ScenarioError, load_scenario
from udpconf.errors import ConfigError

HEAD = 'title = "A test"\nsource = "Made up."\n'
DIGITS = 400 * "9"  # more than floating point holds
MANY_DIGITS = 5000 * "9"  # more than Python reads
HEX = "0x" + 5000 * "f"  # which Python reads, and does not write in decimal
NASTY = {
    "delay": (f"[link]\ndelay = '{DIGITS}ms'", "delay: '999"),
    "delay of ages": ("[link]\ndelay = '604801s'", "more than a week"),
    "delay in many digits": (f"[link]\ndelay = '{MANY_DIGITS}.{MANY_DIGITS}ms'", "more than a week"),
    "delay as a number": (f"[link]\ndelay = {DIGITS}", "in quotes with its unit"),
    "delay as a huge number": (f"[link]\ndelay = {HEX}", "a number of thousands of digits is not written in"),
    "delay as a table": ("[link]\ndelay = { ms = 5 }", "in quotes with its unit"),
    "delay as a list": (f"[link]\ndelay = [{HEX}]", "in quotes with its unit"),
    "delay as a time of day": ("[link]\ndelay = 07:32:00", "in quotes with its unit"),
    "rate": (f"[link]\nrate = '{DIGITS}mbit'", "more than 1000gbit"),
    "rate of nothing": (f"[link]\nrate = '0.{DIGITS[:-1]}1bit'".replace("9", "0"), "more than nothing"),
    "rate burst": (f"[link]\nrate = '1mbit'\nrate_burst = '{DIGITS}kB'", "more than 1000MB"),
    "queue": (f"[link]\nrate = '1mbit'\nqueue = '{DIGITS}kB'", "more than 1000MB"),
    "queue of ages": (f"[link]\nrate = '1mbit'\nqueue = '{DIGITS}ms'", "more than a week"),
    "loss": (f"[link]\nloss = '{DIGITS}%'", "not a share"),
    "burst": (f"[link]\nloss = '1%'\nburst = {DIGITS}", "not a number of packets, 1 to 1000000"),
    "burst of a float": ("[link]\nloss = '1%'\nburst = 1e999", "inf is not a number of packets"),
    "burst without end": ("[link]\nloss = '1%'\nburst = inf", "inf is not a number of packets"),
    "no burst": ("[link]\nloss = '1%'\nburst = nan", "nan is not a number of packets"),
    "burst in hex": (f"[link]\nloss = '1%'\nburst = {HEX}", "thousands of digits is not a number of packets"),
    "burst of truth": ("[link]\nloss = '1%'\nburst = true", "True is not a number of packets"),
    "too many digits": (f"[link]\nburst = {MANY_DIGITS}", "no valid TOML: it has a number of thousands"),
    "shape": (f"[link]\njitter = '1ms'\njitter_shape = {HEX}", "thousands of digits is not a shape"),
    "flag": (f"[link]\nkeep_order = {HEX}", "neither true nor false"),
    "late step": (f"[[step]]\nat = '{DIGITS}s'", "more than a week"),
    "step at a number": (f"[[step]]\nat = {HEX}", "in quotes with its unit"),
    "repeat": (f"[schedule]\nrepeat = '{DIGITS}s'", "more than a week"),
    "seconds": (f"[link]\nrate_trace = {{ synthetic = {{ seconds = {DIGITS} }} }}", "from 1 to 3600"),
    "seconds in hex": (f"[link]\nrate_trace = {{ synthetic = {{ seconds = {HEX} }} }}", "from 1 to 3600"),
    "seconds without end": ("[link]\nrate_trace = { synthetic = { seconds = inf } }", "from 1 to 3600"),
    "no seconds": ("[link]\nrate_trace = { synthetic = { seconds = nan } }", "from 1 to 3600"),
    "mean": (f"[link]\nrate_trace = {{ synthetic = {{ mean = '{DIGITS}mbit' }} }}", "more than 1000gbit"),
    "mean of nothing": (
        "[link]\nrate_trace = { synthetic = { mean = '1bit' } }",
        "nothing leaves within 60 s",
    ),
    "seed": (f"[link]\nrate_trace = {{ synthetic = {{ seed = {HEX} }} }}", "neither text nor a whole number"),
    "seed of nothing": ("[link]\nrate_trace = { synthetic = { seed = nan } }", "neither text nor a whole"),
    "recipe": ("[link]\nrate_trace = { synthetic = 5 }", "synthetic is not a table"),
    "trace": (f'[link]\nrate_trace = "{DIGITS}"', "line 1 of the rate trace"),
    "trace as a number": (f"[link]\nrate_trace = {HEX}", "neither text nor"),
    "NUL in a rate trace's name": (
        '[link]\nrate_trace = { file = "a\\u0000b" }',
        "no file can have that name",
    ),
    "NUL in a loss trace's name": (
        '[link]\nloss_trace = { file = "a\\u0000b" }',
        "no file can have that name",
    ),
    "long name": (f'[link]\nloss_trace = {{ file = "{DIGITS}" }}', "name too long"),
    "folder": ('[link]\nloss_trace = { file = "." }', "Is a directory"),
    "key": (f"[link]\n{MANY_DIGITS} = 1", "unknown key '999"),
    "NUL in a key": ('[link]\n"a\\u0000b" = 1', r"unknown key 'a\x00b'"),
}


@pytest.mark.parametrize("name", NASTY)
def test_what_nobody_means_is_a_sentence_for_every_reader(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, words = NASTY[name]
    path = tmp_path / "nasty.toml"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(str(path))
    said = str(caught.value)
    assert words in said
    assert said.startswith(f"The scenario {path}: ")
    assert said.endswith(".")
    assert said.isprintable()
    assert len(said) < len(str(path)) + 400
    with pytest.raises(ConfigError) as refused:
        named_scenario(str(path))
    assert str(refused.value) == said
    assert netem_commands.main([str(path)]) == 3
    assert tun_lab.main([str(path), "--", "true", "--", "true"]) == 3
    assert capsys.readouterr() == ("", f"apply: {said}\nlab-net: {said}\n")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a\0b", r"There is no scenario 'a\x00b'."),
        ("a\0b.toml", r"The scenario 'a\x00b.toml': it cannot be read: no file can have that name."),
        ("\ud800.toml", "no file can have that name"),
        ("a\nb.toml", r"'a\nb.toml'"),
        (5000 * "a", "There is no scenario 'aaa"),
        (5000 * "a" + ".toml", "name too long"),
        ("/dev", "There is no scenario"),
    ],
)
def test_a_name_that_no_file_has_is_a_sentence(name: str, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(name)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("option", ["--delay", "--loss", "--burst", "--rate", "--rate-burst", "--queue"])
@pytest.mark.parametrize("number", [DIGITS, MANY_DIGITS, "inf", "nan", "-1", "1e5", "0x5"])
def test_an_option_with_such_a_number_is_wrong_usage(
    option: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = {"--delay": "ms", "--loss": "%", "--burst": "", "--rate": "mbit"}.get(option, "kB")
    if (option, number) == ("--burst", "1e5"):
        return  # a number as good as any
    with pytest.raises(SystemExit) as ended:
        tun_lab.main([option, number + unit, "--", "true", "--", "true"])
    assert ended.value.code == 2
    *_, said = capsys.readouterr().err.splitlines()
    assert said.startswith(f"lab-net: error: argument {option}: ")
    assert len(said) < 250


def test_a_file_without_an_end_is_not_read_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario_file, "FILE_MAX_CHARACTERS", 1000)
    path = tmp_path / "endless.toml"
    path.write_text(HEAD + '[link]\nloss_trace = { file = "/dev/zero" }')
    with pytest.raises(ScenarioError, match="more than 1000 characters"):
        load_scenario(str(path))


def test_a_made_up_trace_that_only_fades_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_trace, "_FADES_PER_MINUTE", sys.maxsize)
    with pytest.raises(ValueError, match="fades for all of 1 s"):
        rate_trace.synthetic_cellular(1, 1, 6e6)
