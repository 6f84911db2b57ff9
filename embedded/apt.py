"""Packages of the machine's own Debian or Ubuntu, unpacked into a folder without being installed.

apt works as any user once each of its folders is private. The machine's configuration (mirrors, proxies, time
limits, certificates) stays in force; only its folders, hooks and foreign architectures are left out. An empty status
file makes apt resolve the whole closure, so that what is unpacked does not lean on what is installed.
Standard library only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ServiceError

DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_TOOLS = ("apt-get", "apt-cache", "apt-config", "dpkg", "dpkg-deb")
_SETTING = re.compile(r'([^\s"]+) "([^"]*)";')
# Hooks of the machine belong to its own package lists; an architecture of another kind would be fetched for nothing.
_DROPPED_SETTINGS = re.compile(r"(apt::update::|apt::architectures|dpkg::|dir::|dir$|acquire::indextargets)", re.I)
_RELEASE_SUITES = {"stable", "testing", "unstable", "sid", "oldstable"}
_COMPONENTS = {"main", "universe"}


@dataclass(frozen=True)
class Distribution:
    """The system that this machine runs, from os-release.

    Attributes:
        family: `debian`, `ubuntu`, or the system's own name where it is neither.
        codename: the release's code name, such as `bookworm`; empty where there is none.
    """

    family: str
    codename: str


@dataclass(frozen=True)
class Entry:
    """A source of packages, from sources.list or a deb822 file.

    Attributes:
        uris: the mirrors.
        suites: the releases, such as `bookworm` and `bookworm-updates`.
        components: such as `main`.
        options: the other fields by their deb822 name in lower case, such as `signed-by`.
    """

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str]


@dataclass(frozen=True)
class Apt:
    """A private apt: run its tools with `environment`."""

    folder: Path
    environment: Mapping[str, str]


def read_distribution(os_release: Path = Path("/etc/os-release")) -> Distribution:
    """Read which system this is. A derivative counts as its family only where it uses the family's code names."""
    fields: dict[str, str] = {}
    if os_release.exists():
        for line in os_release.read_text(encoding="utf-8", errors="replace").splitlines():
            name, separator, value = line.partition("=")
            if separator:
                fields[name.strip()] = value.strip().strip("\"'")
    name = fields.get("ID", "")
    likes = fields.get("ID_LIKE", "").split()
    if name not in ("debian", "ubuntu") and "ubuntu" in likes and fields.get("UBUNTU_CODENAME"):
        return Distribution("ubuntu", fields["UBUNTU_CODENAME"])
    if name not in ("debian", "ubuntu") and "debian" in likes and fields.get("DEBIAN_CODENAME"):
        return Distribution("debian", fields["DEBIAN_CODENAME"])
    return Distribution(name or "unknown", fields.get("VERSION_CODENAME", ""))


def is_available() -> bool:
    """Whether this machine has apt's and dpkg's programs."""
    return all(shutil.which(tool) for tool in _TOOLS)


def read_sources(folder: Path = Path("/etc/apt")) -> list[Entry]:
    """Read the machine's enabled sources of binary packages, in both forms."""
    entries: list[Entry] = []
    parts = sorted((folder / "sources.list.d").glob("*")) if (folder / "sources.list.d").is_dir() else []
    for path in [folder / "sources.list", *parts]:
        if not path.is_file() or not os.access(path, os.R_OK):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".sources":
            entries += parse_deb822(text)
        elif path.suffix == ".list":
            entries += parse_one_line(text)
    return entries


def parse_one_line(text: str) -> list[Entry]:
    """Parse sources.list: `deb [option=value ...] uri suite component ...` on each line."""
    entries = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            options = dict(_renamed_option(item) for item in (match[1] or "").split() if "=" in item)
            entries.append(Entry((match[2],), (match[3],), tuple(match[4].split()), options))
    return entries


def parse_deb822(text: str) -> list[Entry]:
    """Parse a deb822 .sources file: stanzas of `Field: value`, continued by indented lines."""
    entries = []
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                fields[name] = f"{fields.get(name, '')}\n{line}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields.pop("types", "").split() and fields.pop("enabled", "yes").lower() not in ("no", "false"):
            uris, suites, components = (tuple(fields.pop(key, "").split()) for key in ("uris", "suites", "components"))
            entries.append(Entry(uris, suites, components, fields))
    return entries


def choose_release_entries(entries: Iterable[Entry], codename: str) -> list[Entry]:
    """Keep the entries of the distribution's own release; third parties' are slower and may be broken."""
    chosen = []
    for entry in entries:
        suites = tuple(
            suite
            for suite in entry.suites
            if suite == codename
            or suite.startswith((f"{codename}-updates", f"{codename}-security", f"{codename}/"))
            or suite.split("-")[0] in _RELEASE_SUITES
        )
        if suites and _COMPONENTS.intersection(entry.components):
            components = tuple(component for component in entry.components if component in _COMPONENTS)
            chosen.append(Entry(entry.uris, suites, components, entry.options))
    return chosen


def choose_sid_entry(entries: Iterable[Entry], codename: str) -> Entry | None:
    """Give Debian's unstable suite on the mirror that the machine uses for its own release."""
    for entry in choose_release_entries(entries, codename):
        if "main" in entry.components and any(suite == codename or suite in _RELEASE_SUITES for suite in entry.suites):
            options = dict(entry.options)
            if "signed-by" not in options and DEBIAN_KEYRING.exists():
                options["signed-by"] = str(DEBIAN_KEYRING)
            return Entry(entry.uris[:1], ("sid",), ("main",), options)
    return None


def render_deb822(entries: Iterable[Entry]) -> str:
    """Write entries as a .sources file."""
    stanzas = []
    for entry in entries:
        fields = {
            "types": "deb",
            "uris": " ".join(entry.uris),
            "suites": " ".join(entry.suites),
            "components": " ".join(entry.components),
            **entry.options,
        }
        stanzas.append("".join(f"{name.title()}: {value}\n" for name, value in fields.items()))
    return "\n".join(stanzas)


def open_apt(folder: Path, entries: Sequence[Entry]) -> Apt:
    """Make a private apt in `folder` and fetch the package lists of `entries`.

    Raises:
        ServiceError: no mirror answers, or a list is not signed as it should be.
    """
    state, cache, etc, archives = (folder / name for name in ("state", "cache", "etc", "archives"))
    for made in (state / "lists" / "partial", cache, etc / "sources.list.d", etc / "none", archives / "partial"):
        made.mkdir(parents=True, exist_ok=True)
    (state / "status").write_text("", encoding="utf-8")
    (etc / "sources.list.d" / "release.sources").write_text(render_deb822(entries), encoding="utf-8")
    configuration = folder / "apt.conf"
    configuration.touch(mode=0o600)  # a proxy's address may hold its password
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    # Cut the configuration off from the machine's files only after these have been read into it.
    dump = _run(["apt-config", "dump", "--format", '%F "%v";%n'], environment, "read apt's configuration")
    configuration.write_text(
        private_configuration(
            dump,
            {
                "Dir::State": str(state),
                "Dir::State::status": str(state / "status"),
                "Dir::State::extended_states": str(state / "extended_states"),
                "Dir::State::Lists": str(state / "lists"),
                "Dir::Cache": str(cache),
                "Dir::Cache::Archives": str(archives),
                "Dir::Etc::sourcelist": "/dev/null",
                "Dir::Etc::sourceparts": str(etc / "sources.list.d"),
                "Dir::Etc::main": "/dev/null",
                "Dir::Etc::parts": str(etc / "none"),
                "Dir::Etc::preferences": "/dev/null",
                "Dir::Etc::preferencesparts": str(etc / "none"),
                "Dir::Log": str(state),
                # The user that apt drops to may not enter a private folder.
                "APT::Sandbox::User": "root" if os.getuid() == 0 else "",
                "APT::Architectures": _run(["dpkg", "--print-architecture"], environment, "ask dpkg").strip(),
                "Acquire::Languages": "none",
                "Acquire::Retries": "3",
                "APT::Get::List-Cleanup": "false",
            },
        ),
        encoding="utf-8",
    )
    apt = Apt(folder, {**environment, "APT_CONFIG": str(configuration)})
    mirrors = ", ".join(sorted({uri for entry in entries for uri in entry.uris})) or "none"
    purpose = f"read the package lists of {without_password(mirrors)}"
    warnings = _run_whole(["apt-get", "-qq", "update"], apt.environment, purpose).stderr
    # A mirror that does not answer is a mere warning to apt.
    if not any("_Packages" in path.name for path in (state / "lists").iterdir()):
        raise ServiceError(f"cannot {purpose}: {_reason(warnings)}")
    return apt


def private_configuration(dump: str, own: Mapping[str, str]) -> str:
    """Turn the output of `apt-config dump` into a configuration file of its own.

    Args:
        dump: lines of the form `Name "value";`.
        own: settings that replace or extend it.
    """
    lines = []
    for line in dump.splitlines():
        match = _SETTING.fullmatch(line)
        if match and match[2] and not _DROPPED_SETTINGS.match(match[1]):
            lines.append(line)
    lines += [f'{name} "{value}";' for name, value in own.items()]
    return "\n".join(lines) + "\n"


def find_packages(apt: Apt, pattern: str) -> list[str]:
    """List the packages whose whole name matches a regular expression, in the order of their names."""
    found = _run(["apt-cache", "search", "--names-only", f"^{pattern}$"], apt.environment, "search the packages")
    return sorted(line.split(" - ")[0].strip() for line in found.splitlines())


def resolve(apt: Apt, package: str) -> list[str]:
    """List a package and all that it depends on, each as `name=version`."""
    command = ["apt-get", "-qq", "--simulate", "--no-install-recommends", "install", package]
    report = _run(command, apt.environment, f"resolve {package}")
    return sorted({f"{name}={version}" for name, version in re.findall(r"^Inst (\S+) \((\S+) ", report, re.M)})


def unpack(apt: Apt, packages: Sequence[str], prefix: Path) -> int:
    """Download packages, check them against the signed lists, and unpack them into a folder.

    Args:
        apt: where to take them from.
        packages: as `name` or `name=version`.
        prefix: the folder that stands for `/`.

    Returns:
        the number of bytes downloaded.

    Raises:
        ServiceError: a package cannot be had, or does not fit on the disk.
    """
    downloads = apt.folder / "downloads"
    downloads.mkdir()
    _run(["apt-get", "-qq", "download", *packages], apt.environment, "download packages", downloads)
    files = sorted(downloads.glob("*.deb"))
    prefix.mkdir(parents=True, exist_ok=True)
    for file in files:
        _run(["dpkg-deb", "--extract", str(file), str(prefix)], apt.environment, f"unpack {file.name}")
    size = sum(file.stat().st_size for file in files)
    shutil.rmtree(downloads)
    return size


def _renamed_option(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    plural = {"arch": "architectures", "lang": "languages", "target": "targets"}
    return plural.get(name.lower(), name.lower()), value.replace(",", " ")


def _run(command: Sequence[str], environment: Mapping[str, str], purpose: str, folder: Path | None = None) -> str:
    return _run_whole(command, environment, purpose, folder).stdout


def _run_whole(
    command: Sequence[str], environment: Mapping[str, str], purpose: str, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(  # noqa: S603 - the machine's own programs, with arguments that we make
        command,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        raise ServiceError(f"cannot {purpose}: {_reason(result.stderr or result.stdout)}")
    return result


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err", "dpkg-deb: error"))] or lines
    return without_password(re.sub(r"^[EW]: ", "", errors[0]) if errors else "no reason given")


def without_password(text: str) -> str:
    """Take user names and passwords out of the addresses in a text."""
    return re.sub(r"//[^/@\s]*@", "//", text)
