"""The layers import downwards only; this test is the architecture diagram that cannot go out of date."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "udpconf"
LEAVES = {"frames", "errors", "limits", "names"}
MAY_IMPORT: dict[str, set[str]] = {
    "wire": set(),
    "proto": {"wire"},
    "media": set(),
    "net": {"proto", "wire"},
    "app": {"net", "proto", "media", "config"},
    "cli": {"app", "media", "net", "emulation", "config", "__init__"},
    "emulation": set(),
    "config": set(),
    "names": {"limits"},
    "__init__": {"app"},
    "__main__": {"cli"},
}
NO_IO = {"socket", "threading", "time", "asyncio", "cv2", "select"}


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            assert node.module is not None
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_import_points_down() -> None:
    for path in PACKAGE.rglob("*.py"):
        room = room_of(path)
        allowed = MAY_IMPORT.get(room, set()) | {room}
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] != "udpconf":
                if room in {"wire", "proto"}:
                    assert parts[0] not in NO_IO, (
                        f"{path.relative_to(PACKAGE)} imports {name}: the core does no I/O"
                    )
                continue
            target = parts[1] if len(parts) > 1 else "__init__"
            if target == "__version__":
                continue
            if room == "emulation":
                assert target == "emulation", (
                    f"{path.relative_to(PACKAGE)} imports {name}: the judge knows nobody"
                )
            assert target in allowed | (LEAVES if room not in LEAVES else set()), (
                f"{path.relative_to(PACKAGE)} ({room}) imports {name} ({target})"
            )
