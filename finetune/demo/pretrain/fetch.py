"""Download the packages of packages.yaml by name through pip, npm and apt, and lay their files out as folders.

    raw/pypi/django/...     raw/npm/express/...     raw/debian/hugo/...

Only registry clients touch the network; what they brought is unpacked here and nothing of it is run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import yaml

PACKAGES = Path(__file__).with_name("packages.yaml")


class Package(NamedTuple):
    """One line of packages.yaml."""

    name: str
    ecosystem: str
    language: str
    version: str = ""
    licence: str = ""
    held_out: bool = False

    @property
    def repo(self) -> str:
        """The name the model sees after <repo_name>."""
        return self.name.removeprefix("@")


def packages(path: Path = PACKAGES) -> list[Package]:
    """All packages, in the order of the file."""
    return [Package(**entry) for entry in yaml.safe_load(path.read_text())["packages"]]


def folder_of(raw: Path, package: Package) -> Path:
    """Where a package's files lie."""
    return raw / package.ecosystem / package.name.replace("/", "__")


def fetch_all(raw: Path, wanted: list[Package]) -> Iterator[tuple[Package, str]]:
    """Each package with "" or what went wrong, in order; a package that is there already is not fetched again."""
    sources = _apt_sources(raw / "apt")
    with ThreadPoolExecutor(4) as pool:
        yield from zip(wanted, pool.map(lambda package: _fetch(raw, package, sources), wanted), strict=True)


def _fetch(raw: Path, package: Package, sources: Path) -> str:
    folder = folder_of(raw, package)
    if folder.exists():
        return ""
    archives = folder.with_name(folder.name + ".archives")
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir(parents=True)
    done = subprocess.run(_command(package, archives, sources), cwd=archives, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()[-300:]
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for archive in sorted(archives.iterdir()):
        _unpack(archive, partial)
    partial.rename(folder)
    return ""


def _command(package: Package, archives: Path, sources: Path) -> list[str]:
    match package.ecosystem:
        case "pypi":
            pinned = package.name + (f"=={package.version}" if package.version else "")
            wheel = ["--no-deps", "--only-binary", ":all:", "--dest", str(archives)]
            return [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *wheel, pinned]
        case "npm":
            return ["npm", "pack", "--silent", package.name + (f"@{package.version}" if package.version else "")]
        # Debian keeps one version of a package per release, so the version is recorded and not asked for.
        case "deb":
            return ["apt-get", "download", package.name]
        case _:
            return ["apt-get", *_apt_options(sources), "source", "--download-only", package.name]


def _apt_options(folder: Path) -> list[str]:
    return ["-o", f"Dir::Etc::SourceParts={folder}", "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::State::Lists={folder / 'lists'}"]


def _apt_sources(folder: Path) -> Path:
    """A private copy of this machine's apt sources that also lists source packages."""
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    for own in [*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        text = own.read_text().replace("Types: deb\n", "Types: deb deb-src\n")
        lines = text.splitlines()
        lines += ["deb-src" + line.removeprefix("deb") for line in lines if line.startswith("deb ")]
        (folder / own.name).write_text("\n".join(lines) + "\n")
    subprocess.run(["apt-get", *_apt_options(folder), "update"], check=True, capture_output=True)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)
    elif archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(folder)], check=True)
    elif ".tar." in archive.name or archive.suffix == ".tgz":
        if archive.name.endswith(".asc"):
            return
        with tarfile.open(archive) as tar:
            tar.extractall(folder, members=_plain_files(tar), filter="data")


def _plain_files(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Regular files only: a link could point outside."""
    keep: Callable[[tarfile.TarInfo], bool] = tarfile.TarInfo.isreg
    return filter(keep, tar)
