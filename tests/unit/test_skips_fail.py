"""With UDPCONF_FAIL_ON_SKIP=1 a run that left a test out has failed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parent.parent / "conftest.py"
PASSES = "def test_passes(): pass\n"
SKIPS = "import pytest\ndef test_skips(): pytest.skip('no')\n"
EXPECTS_FAILURE = "import pytest\n@pytest.mark.xfail\ndef test_fails(): assert False\n"
SKIPS_ALL = "import pytest\npytest.skip('no', allow_module_level=True)\n"


def test_a_test_that_was_left_out_fails_the_run_only_where_that_is_asked_for(tmp_path: Path) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_passes.py").write_text(PASSES)
    assert run(tmp_path, "1").returncode == 0
    for number, left_out in enumerate((SKIPS, EXPECTS_FAILURE, SKIPS_ALL)):
        (tmp_path / f"test_left_out_{number}.py").write_text(left_out)
    assert run(tmp_path, "").returncode == 0
    failed = run(tmp_path, "1")
    assert failed.returncode == 1
    assert "3 tests were skipped or expected to fail" in failed.stdout


def run(directory: Path, fail_on_skip: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(directory),
            str(directory),
        ],
        cwd=directory,
        env={**os.environ, "UDPCONF_FAIL_ON_SKIP": fail_on_skip},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
