"""A fresh environment with what pip would install of requirements, without installing it."""

from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement


def link_requirements(lines: Iterable[str], environment: Path) -> None:
    """Link into a fresh environment what these requirements bring, and nothing else.

    They are pinned to the versions that pip has put together here, so that this is what pip would
    install: copying gigabytes would not show more.
    """
    (packages,) = environment.glob("lib/python*/site-packages")
    wanted, seen = [Requirement(line) for line in lines], set()
    while wanted:
        one = wanted.pop()
        if (one.name, *one.extras) in seen:
            continue
        seen.add((one.name, *one.extras))
        found = distribution(one.name)
        assert one.specifier.contains(found.version, prereleases=True), one
        for name in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(Path(str(found.locate_file(name))))
        for need in map(Requirement, found.requires or []):
            extras = [{"extra": extra} for extra in ("", *one.extras)]
            if need.marker is None or any(need.marker.evaluate(extra) for extra in extras):
                wanted.append(need)
