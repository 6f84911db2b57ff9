"""The MySQL server's program and Java: the machine's own, or unpacked into the project from the distribution.

Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import ssl
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embedded import apt
from embedded.processes import lock
from pipeline.errors import ServiceError
from pipeline.files import private_folder

Kind = Literal["mysql", "mariadb"]

NAMES: dict[Kind, str] = {"mysql": "MySQL", "mariadb": "MariaDB"}
OLDEST: dict[Kind, tuple[int, int]] = {"mysql": (8, 0), "mariadb": (10, 6)}
OLDEST_JAVA = 17

_PACKAGE_PATTERN: dict[Kind, str] = {
    "mysql": "mysql-server-core(-[0-9.]+)?",
    "mariadb": "mariadb-server-core(-[0-9.]+)?",
}
_PROGRAM_NAMES = ("mysqld", "mariadbd")
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/usr/libexec", "/usr/local/mysql/bin")
# Of the closure, a server needs its own package and the libraries; the rest is for scripts that are not run here.
_UNUSED_LIBRARIES = re.compile(r"lib(perl|gdbm|db5|c-gconv|c-bin)")
# Java versions in the order in which Spark has been used with them.
_JAVA_VERSIONS = (17, 21, 25)


@dataclass(frozen=True)
class MysqlProgram:
    """A server program that runs on this machine.

    Attributes:
        kind: which server it is.
        version: such as `9.7.0`.
        command: what to execute, before any option.
        prefix: the folder that holds `bin`, `lib` and `share`; the server's `--basedir`.
        is_unpacked: whether the project has unpacked it, so that its built-in paths lead nowhere.
    """

    kind: Kind
    version: str
    command: tuple[str, ...]
    prefix: Path
    is_unpacked: bool

    @property
    def title(self) -> str:
        """The server as messages name it."""
        return f"{NAMES[self.kind]} {self.version}"

    @property
    def share(self) -> Path:
        """The folder that holds the server's messages, character sets and scripts."""
        folders = [self.prefix / "share" / name for name in (self.kind, "mysql", "mariadb", ".")]
        for folder in folders:
            if (folder / "english" / "errmsg.sys").exists() or (folder / "charsets").is_dir():
                return folder
        return folders[1]

    @property
    def plugins(self) -> Path | None:
        """The folder of the server's plug-ins, where it is known."""
        return next(iter(sorted((self.prefix / "lib").glob("**/plugin"))), None) if self.is_unpacked else None


@dataclass(frozen=True)
class UnpackedMysql:
    """A server program that was unpacked.

    Attributes:
        program: the program.
        download_bytes: what was fetched for it.
        remarks: why it is not the kind that was wanted first.
    """

    program: MysqlProgram
    download_bytes: int
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class UnpackedJava:
    """A Java that was unpacked.

    Attributes:
        home: its folder.
        version: its major version.
        download_bytes: what was fetched for it.
    """

    home: Path
    version: int
    download_bytes: int


def series(version: str) -> tuple[int, int]:
    """Give the release series of a version: `(8, 0)` for `8.0.36`."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def parse_server_version(text: str) -> tuple[Kind, str] | None:
    """Read the output of `mysqld --version` or `mariadbd --version`."""
    match = re.search(r"Ver\s+(\d+\.\d+\.\d+)(\S*)", text)
    if not match:
        return None
    return ("mariadb" if "mariadb" in text.lower() else "mysql"), match[1]


def find_mysql_program(embedded_dir: Path, *, kind: Kind | None = None) -> MysqlProgram | None:
    """Find a supported server program without fetching anything.

    What the project has unpacked comes first: it was unpacked because the machine had none, and the databases
    were made with it.

    Args:
        embedded_dir: the `.embedded` folder.
        kind: only this kind; any by default, with real MySQL before MariaDB.
    """
    kinds: tuple[Kind, ...] = (kind,) if kind else ("mysql", "mariadb")
    on_machine = list(_machine_programs())
    found = [read_unpacked(embedded_dir / "mysql" / "mysql")] if "mysql" in kinds else []
    found += [program for program in on_machine if program.kind in kinds]
    found += [read_unpacked(embedded_dir / "mysql" / "mariadb")] if "mariadb" in kinds else []
    return next((program for program in found if program), None)


def provide_mysql_program(embedded_dir: Path, *, kind: Kind | None = None) -> MysqlProgram:
    """Find a server program, or unpack one from the distribution's packages into `.embedded/mysql/<kind>`.

    Args:
        embedded_dir: the `.embedded` folder.
        kind: the kind that it must be; by default real MySQL where it can be had, else MariaDB.

    Raises:
        ServiceError: there is none, and none can be had.
    """
    return find_mysql_program(embedded_dir, kind=kind) or unpack_mysql_program(embedded_dir, kind=kind).program


def unpack_mysql_program(embedded_dir: Path, *, kind: Kind | None = None) -> UnpackedMysql:
    """Unpack a server program from the distribution's packages into `.embedded/mysql/<kind>`.

    Args:
        embedded_dir: the `.embedded` folder.
        kind: the kind that it must be; by default real MySQL where it can be had, else MariaDB.

    Raises:
        ServiceError: none can be had.
    """
    _require_apt("MySQL or MariaDB server (mysqld or mariadbd)")
    kinds: tuple[Kind, ...] = (kind,) if kind else ("mysql", "mariadb")
    reasons: list[str] = []
    with lock(embedded_dir / "programs.lock", "unpacking programs"):
        for wanted in kinds:
            try:
                program, size = _unpack_mysql(embedded_dir, wanted)
            except ServiceError as error:
                reasons.append(f"no {NAMES[wanted]}: {error}")
            else:
                return UnpackedMysql(program, size, tuple(reasons))
    raise ServiceError(f"{'; '.join(reasons)}. Install a server (mysql-server or mariadb-server), or set MYSQL_HOST")


def read_unpacked(folder: Path) -> MysqlProgram | None:
    """Read the server program that was unpacked into a folder, if there is one."""
    try:
        declared = json.loads((folder / "program.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return _describe_unpacked(folder, declared["kind"], declared["version"])


def find_java(embedded_dir: Path) -> Path | None:
    """Find a Java that Spark can use: JAVA_HOME, `java` on the PATH, or the one that the project has unpacked.

    Returns:
        its home folder.
    """
    on_path = shutil.which("java")
    homes = [
        Path(os.environ["JAVA_HOME"]) if os.environ.get("JAVA_HOME") else None,
        Path(on_path).resolve().parent.parent if on_path else None,
        embedded_dir / "java",
    ]
    return next((home for home in homes if home and (java_version(home) or 0) >= OLDEST_JAVA), None)


def java_version(home: Path) -> int | None:
    """Ask a Java for its major version; None where it does not run."""
    return parse_java_version(_output([str(home / "bin" / "java"), "-version"]))


def parse_java_version(text: str) -> int | None:
    """Read the output of `java -version`: 17 for `"17.0.15"`, 8 for `"1.8.0_292"`."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else None


def unpack_java(embedded_dir: Path) -> UnpackedJava:
    """Unpack a headless Java from the distribution's packages into `.embedded/java`.

    Raises:
        ServiceError: none can be had.
    """
    _require_apt(f"Java {OLDEST_JAVA} or later (java)")
    home = embedded_dir / "java"
    with lock(embedded_dir / "programs.lock", "unpacking programs"), work_folder(embedded_dir / "tmp_java") as folder:
        source = apt.open_apt(_made(folder / "apt"), release_entries())
        package = choose_java(apt.find_packages(source, "openjdk-[0-9]+-jre-headless"))
        if package is None:
            raise ServiceError(
                f"the distribution has no Java {OLDEST_JAVA} or later: install one and set JAVA_HOME to its folder"
            )
        size = apt.unpack(source, [package], folder / "root")
        unpacked = _make_java_home(folder / "root")
        version = java_version(unpacked)
        if version is None:
            raise ServiceError(f"{package} does not run on this machine: install Java {OLDEST_JAVA} and set JAVA_HOME")
        replace_folder(unpacked, home)
    return UnpackedJava(home, version, size)


def choose_java(packages: list[str]) -> str | None:
    """Choose among `openjdk-N-jre-headless`: a version that Spark knows, else the newest."""
    versions = {int(name.split("-")[1]): name for name in packages}
    suitable = [number for number in versions if number >= OLDEST_JAVA]
    known = [number for number in _JAVA_VERSIONS if number in suitable]
    return versions[(known or [max(suitable)])[0]] if suitable else None


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Give a new folder for half-made things, which goes in the end.

    What a killed run left below `parent` is removed. The name is new each time: a child of that run may live on for a
    while, and would write into the same place.
    """
    shutil.rmtree(parent, ignore_errors=True)
    private_folder(parent)
    try:
        yield Path(tempfile.mkdtemp(dir=parent))
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def replace_folder(made: Path, final: Path) -> None:
    """Move a finished folder to its place; what stood there goes."""
    private_folder(final.parent)
    if final.exists():
        shutil.rmtree(final)
    made.rename(final)


def write_keystore(path: Path, certificates: list[bytes]) -> None:
    """Write a Java keystore of trusted certificates.

    The JKS format: a magic number, version 2, the entries, and a SHA-1 over them that is salted with the password
    and a fixed phrase (it guards against damage, not against people). The password is Java's own default.

    Args:
        path: the file.
        certificates: each in DER form.
    """
    content = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for number, certificate in enumerate(certificates):
        content += struct.pack(">I", 2) + _java_text(f"certificate-{number}") + struct.pack(">Q", 0)
        content += _java_text("X.509") + struct.pack(">I", len(certificate)) + certificate
    salt = "changeit".encode("utf-16-be") + b"Mighty Aphrodite"
    path.write_bytes(content + hashlib.sha1(salt + content).digest())  # noqa: S324 - the format's own check sum


def _java_text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode("ascii")


def _machine_programs() -> Iterator[MysqlProgram]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
    seen = set()
    for name in _PROGRAM_NAMES:
        found = shutil.which(name, path=path)
        if not found or Path(found).resolve() in seen or _is_confined(Path(found)):
            continue
        seen.add(Path(found).resolve())
        parsed = parse_server_version(_output([found, "--no-defaults", "--version"]))
        if parsed and series(parsed[1]) >= OLDEST[parsed[0]]:
            yield MysqlProgram(*parsed, command=(found,), prefix=Path(found).resolve().parents[1], is_unpacked=False)


def _is_confined(program: Path) -> bool:
    """Whether AppArmor keeps this program out of every folder but the system's own, as Ubuntu does with mysqld."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    profile = Path("/etc/apparmor.d") / str(program.resolve()).strip("/").replace("/", ".")
    try:
        return profile.exists() and enabled.read_text(encoding="ascii").strip() == "Y"
    except OSError:
        return False


def _unpack_mysql(embedded_dir: Path, kind: Kind) -> tuple[MysqlProgram, int]:
    final = embedded_dir / "mysql" / kind
    with work_folder(embedded_dir / "tmp_mysql") as folder:
        source = apt.open_apt(_made(folder / "apt"), _entries_with(kind))
        packages = apt.find_packages(source, _PACKAGE_PATTERN[kind])
        if not packages:
            raise ServiceError(f"the distribution has no {NAMES[kind]} server")
        package = packages[-1]
        closure = [
            item
            for item in apt.resolve(source, package)
            if item.startswith((f"{package}=", "zlib", "lib")) and not _UNUSED_LIBRARIES.match(item)
        ]
        made = folder / "program"
        size = apt.unpack(source, closure, made)
        relativise_links(made)
        parsed = parse_server_version(
            _output([*_describe_unpacked(made, kind, "0.0").command, "--no-defaults", "--version"])
        )
        if parsed is None or parsed[0] != kind:
            raise ServiceError(f"{package} does not run on this machine")
        (made / "program.json").write_text(json.dumps({"kind": kind, "version": parsed[1]}) + "\n", encoding="utf-8")
        replace_folder(made, final)
    return _describe_unpacked(final, *parsed), size


def _describe_unpacked(folder: Path, kind: Kind, version: str) -> MysqlProgram:
    """Run an unpacked server through its own loader and libraries: the machine's may be older than it needs."""
    loader = next(iter(sorted(folder.glob("**/ld-linux*.so.*"))), None)
    names = [folder / "usr" / "sbin" / name for name in _PROGRAM_NAMES]
    program = next((path for path in names if path.exists()), names[0])
    libraries = sorted({str(path.parent) for path in folder.glob("**/lib*.so.*") if "plugin" not in path.parts})
    command = (str(loader), "--library-path", ":".join(libraries), str(program)) if loader else (str(program),)
    return MysqlProgram(kind, version, command, prefix=folder / "usr", is_unpacked=True)


def relativise_links(prefix: Path) -> None:
    """Make each absolute symbolic link below a prefix lead to the same place inside the prefix."""
    for path in prefix.rglob("*"):
        if path.is_symlink() and path.readlink().is_absolute():
            target = prefix / path.readlink().relative_to("/")
            path.unlink()
            path.symlink_to(os.path.relpath(target, path.parent))


def _make_java_home(root: Path) -> Path:
    """Make a Java that stands alone: its links into other folders become files."""
    home = next(path for path in (root / "usr" / "lib" / "jvm").iterdir() if (path / "bin" / "java").exists())
    for path in sorted(home.rglob("*")):
        if not path.is_symlink():
            continue
        link = path.readlink()
        target = root / link.relative_to("/") if link.is_absolute() else path.parent / link
        if not link.is_absolute() and target.resolve().is_relative_to(home.resolve()):
            continue
        path.unlink()
        if target.is_dir():
            shutil.copytree(target, path)
        elif target.exists():
            shutil.copy2(target, path)
    # The distribution makes this file when the package is installed, which it is not here.
    certificates = ssl.create_default_context().get_ca_certs(binary_form=True)
    write_keystore(home / "lib" / "security" / "cacerts", certificates)
    return home


def release_entries() -> list[apt.Entry]:
    """Give the machine's own sources of packages for its own release."""
    distribution = apt.read_distribution()
    entries = apt.read_sources()
    return apt.choose_release_entries(entries, distribution.codename) or entries


def _entries_with(kind: Kind) -> list[apt.Entry]:
    """Debian's releases have MariaDB alone; its unstable suite has real MySQL."""
    distribution = apt.read_distribution()
    if kind == "mariadb" or distribution.family != "debian":
        return release_entries()
    entry = apt.choose_sid_entry(apt.read_sources(), distribution.codename)
    if entry is None:
        raise ServiceError("no mirror of this distribution is set up in /etc/apt")
    return [entry]


def _require_apt(what: str) -> None:
    if apt.read_distribution().family not in ("debian", "ubuntu") or not apt.is_available():
        raise ServiceError(
            f"this machine has no {what}, and it is neither Debian nor Ubuntu: install it with your"
            " system's package manager, so that it is on the PATH"
        )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, mode=0o700)
    return folder


def _output(command: list[str]) -> str:
    # Spark's JVM is started without them too.
    dropped = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
    try:
        result = subprocess.run(  # noqa: S603 - a program found on this machine, asked for its version
            command,
            env={name: value for name, value in os.environ.items() if name not in dropped},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout if result.returncode == 0 else ""
