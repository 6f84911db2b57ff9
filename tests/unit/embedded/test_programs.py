"""Finding programs on the machine, and making unpacked ones stand alone."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from pathlib import Path

import pytest

from embedded import apt, programs
from embedded.programs import (
    choose_java,
    find_java,
    find_mysql_program,
    parse_java_version,
    parse_server_version,
    relativise_links,
    replace_folder,
    series,
    unpack_java,
    unpack_mysql_program,
    work_folder,
    write_keystore,
)
from pipeline.errors import ServiceError


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with nothing on its PATH; gives the folder that is its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    return folder


def write_program(path: Path, output: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{output}'\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/x/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", ("mysql", "9.7.4")),
        ("mysqld  Ver 8.0.36-0ubuntu0.22.04.1 for Linux on x86_64 ((Ubuntu))", ("mysql", "8.0.36")),
        ("mariadbd  Ver 10.11.11-MariaDB-0+deb12u1 for debian-linux-gnu", ("mariadb", "10.11.11")),
        ("/usr/sbin/mysqld  Ver 11.8.2-MariaDB for linux", ("mariadb", "11.8.2")),
        ("command not found", None),
    ],
)
def test_the_kind_and_version_of_a_server_are_read(text: str, expected: tuple[str, str] | None) -> None:
    assert parse_server_version(text) == expected


def test_a_series_is_the_first_two_numbers() -> None:
    assert series("10.11.19") == (10, 11)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_292"', 8),
        ('version "25-ea"', 25),
        ("", None),
    ],
)
def test_the_major_version_of_java_is_read(text: str, expected: int | None) -> None:
    assert parse_java_version(text) == expected


@pytest.mark.parametrize(
    ("versions", "expected"),
    [((8, 17, 21, 27), 17), ((8, 21, 25), 21), ((11, 26, 28), 28), ((8, 11), None), ((), None)],
)
def test_a_java_that_spark_knows_comes_before_a_newer_one(versions: tuple[int, ...], expected: int | None) -> None:
    names = [f"openjdk-{version}-jre-headless" for version in versions]
    assert choose_java(names) == (f"openjdk-{expected}-jre-headless" if expected else None)


@pytest.mark.usefixtures("bare_machine")
def test_a_bare_machine_has_no_programs(tmp_path: Path) -> None:
    assert find_mysql_program(tmp_path) is None
    assert find_java(tmp_path) is None


def test_a_server_of_the_machine_is_found_wherever_it_stands(bare_machine: Path, tmp_path: Path) -> None:
    write_program(bare_machine / "mariadbd", "mariadbd  Ver 10.6.3-MariaDB for debian-linux-gnu")
    found = find_mysql_program(tmp_path)
    assert found is not None
    assert (found.title, found.command) == ("MariaDB 10.6.3", (str(bare_machine / "mariadbd"),))
    assert find_mysql_program(tmp_path, kind="mysql") is None


@pytest.mark.parametrize("version", ["5.7.44", "10.5.9-MariaDB"])
def test_a_server_that_is_too_old_is_passed_over(bare_machine: Path, tmp_path: Path, version: str) -> None:
    write_program(bare_machine / "mysqld", f"mysqld  Ver {version} for Linux on x86_64")
    assert find_mysql_program(tmp_path) is None


def test_the_server_that_was_unpacked_comes_before_one_installed_later(bare_machine: Path, tmp_path: Path) -> None:
    write_program(bare_machine / "mysqld", "mysqld  Ver 8.4.1 for Linux on x86_64")
    folder = tmp_path / "mysql" / "mysql"
    write_program(folder / "usr" / "sbin" / "mysqld", "mysqld  Ver 9.7.4 for Linux on x86_64")
    (folder / "program.json").write_text(json.dumps({"kind": "mysql", "version": "9.7.4"}))
    found = find_mysql_program(tmp_path)
    assert found is not None
    assert (found.version, found.is_unpacked) == ("9.7.4", True)


def test_java_is_found_through_a_link_on_the_path(bare_machine: Path, tmp_path: Path) -> None:
    write_program(tmp_path / "jdk" / "bin" / "java", 'openjdk version "21.0.1"')
    (bare_machine / "java").symlink_to(tmp_path / "jdk" / "bin" / "java")
    assert find_java(tmp_path / ".embedded") == tmp_path / "jdk"


def test_a_java_that_is_too_old_gives_way_to_the_unpacked_one(bare_machine: Path, tmp_path: Path) -> None:
    write_program(bare_machine / "java", 'java version "1.8.0_292"')
    assert find_java(tmp_path) is None
    write_program(tmp_path / "java" / "bin" / "java", 'openjdk version "17.0.15"')
    assert find_java(tmp_path) == tmp_path / "java"


def test_java_is_known_whatever_options_the_shell_has_for_it(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(bare_machine / "java", """openjdk version "'"$JAVA_TOOL_OPTIONS"'17.0.15\"""")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xnonsense")
    assert find_java(tmp_path) is not None


@pytest.mark.usefixtures("bare_machine")
def test_a_foreign_system_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apt, "read_distribution", lambda: apt.Distribution("fedora", ""))
    with pytest.raises(ServiceError, match=r"no Java 17 or later \(java\).*neither Debian nor Ubuntu: install it"):
        unpack_java(tmp_path)
    with pytest.raises(ServiceError, match=r"no MySQL or MariaDB server .*neither Debian nor Ubuntu: install it"):
        unpack_mysql_program(tmp_path)


def test_mariadb_stands_in_where_real_mysql_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mariadb = programs.MysqlProgram("mariadb", "10.11.19", ("mariadbd",), tmp_path, is_unpacked=True)

    def unpack(_: Path, kind: programs.Kind) -> tuple[programs.MysqlProgram, int]:
        if kind == "mysql":
            raise ServiceError("the mirror has no such suite")
        return mariadb, 15

    monkeypatch.setattr(programs, "_require_apt", lambda _: None)
    monkeypatch.setattr(programs, "_unpack_mysql", unpack)
    unpacked = unpack_mysql_program(tmp_path)
    assert unpacked.program == mariadb
    assert unpacked.remarks == ("no MySQL: the mirror has no such suite",)
    with pytest.raises(ServiceError, match=r"the mirror has no such suite.*or set MYSQL_HOST"):
        unpack_mysql_program(tmp_path, kind="mysql")


def test_absolute_links_come_to_lead_inside_the_prefix(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "settings").write_text("inside")
    (tmp_path / "usr" / "lib").mkdir(parents=True)
    link = tmp_path / "usr" / "lib" / "settings"
    link.symlink_to("/etc/settings")
    relativise_links(tmp_path)
    assert str(link.readlink()) == "../../etc/settings"
    assert link.read_text() == "inside"


def test_a_work_folder_is_new_each_time_and_leaves_nothing(tmp_path: Path) -> None:
    parent = tmp_path / "tmp"
    (parent / "left-by-a-killed-run").mkdir(parents=True)
    with work_folder(parent) as folder:
        assert list(parent.iterdir()) == [folder]
        (folder / "half").touch()
    assert not parent.exists()


def test_a_finished_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    made, final = tmp_path / "made", tmp_path / "a" / "final"
    for folder, name in ((made, "new"), (final, "old")):
        folder.mkdir(parents=True)
        (folder / name).touch()
    replace_folder(made, final)
    assert [path.name for path in final.iterdir()] == ["new"]
    assert not made.exists()


def test_java_reads_the_key_store_that_is_written(tmp_path: Path) -> None:
    java = find_java(Path(__file__).resolve().parents[3] / ".embedded")
    keytool = java / "bin" / "keytool" if java else None
    assert keytool is not None
    certificates = ssl.create_default_context().get_ca_certs(binary_form=True)[:3]
    write_keystore(tmp_path / "cacerts", certificates)
    result = subprocess.run(
        [keytool, "-list", "-keystore", tmp_path / "cacerts", "-storepass", "changeit"],
        capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    assert f"contains {len(certificates)} entr" in result.stdout
