"""Reading the machine's package sources, and cutting a private apt off from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedded.apt import (
    Distribution,
    Entry,
    choose_release_entries,
    choose_sid_entry,
    parse_deb822,
    parse_one_line,
    private_configuration,
    read_distribution,
    read_sources,
    render_deb822,
    without_password,
)

DEB822 = """\
# The mirror of this site
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Check-Valid-Until: no
# a remark inside a stanza
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF

Types: deb-src
URIs: http://sources.example/
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.example/
Suites: bookworm
Components: main
"""


def test_a_deb822_file_gives_its_enabled_binary_sources() -> None:
    first, second = parse_deb822(DEB822)
    assert first == Entry(
        ("http://mirror.example/debian",),
        ("bookworm", "bookworm-updates"),
        ("main", "contrib"),
        {"signed-by": "/usr/share/keyrings/debian-archive-keyring.gpg"},
    )
    assert second.uris == ("http://mirror.example/debian-security",)
    assert second.options["check-valid-until"] == "no"
    assert second.options["signed-by"].splitlines()[-1] == " mQINBF"


def test_a_sources_list_gives_its_binary_sources_with_their_options() -> None:
    text = (
        "# deb http://off.example/ bookworm main\n"
        "deb-src http://mirror.example/debian bookworm main\n"
        "\n"
        "deb [arch=amd64,arm64 signed-by=/k.gpg] http://mirror.example/ubuntu jammy main universe # ours\n"
        "deb http://mirror.example/ubuntu jammy-updates main\n"
    )
    assert parse_one_line(text) == [
        Entry(
            ("http://mirror.example/ubuntu",),
            ("jammy",),
            ("main", "universe"),
            {"architectures": "amd64 arm64", "signed-by": "/k.gpg"},
        ),
        Entry(("http://mirror.example/ubuntu",), ("jammy-updates",), ("main",), {}),
    ]


def test_what_is_rendered_reads_back_the_same() -> None:
    entries = parse_deb822(DEB822)
    assert parse_deb822(render_deb822(entries)) == entries


def test_sources_are_read_from_both_kinds_of_files_and_no_other(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb http://one.example/ bookworm main\n")
    (parts / "two.sources").write_text("Types: deb\nURIs: http://two.example/\nSuites: sid\nComponents: main\n")
    (parts / "three.list").write_text("deb http://three.example/ bookworm main\n")
    (parts / "four.list.disabled").write_text("deb http://four.example/ bookworm main\n")
    assert [entry.uris[0] for entry in read_sources(tmp_path)] == [
        "http://one.example/",
        "http://three.example/",
        "http://two.example/",
    ]


def test_a_machine_without_sources_gives_none(tmp_path: Path) -> None:
    assert read_sources(tmp_path) == []


def test_only_the_release_of_the_distribution_is_used() -> None:
    own = Entry(("http://a/",), ("bookworm", "bookworm-updates", "bookworm-backports"), ("main", "contrib"), {})
    foreign = [
        Entry(("http://b/",), ("nodistro",), ("main",), {}),
        Entry(("http://c/",), ("bookworm",), ("stable",), {}),
        Entry(("http://d/",), ("bookworm-pgdg",), ("main",), {}),
    ]
    assert choose_release_entries([*foreign, own], "bookworm") == [
        Entry(("http://a/",), ("bookworm", "bookworm-updates"), ("main",), {})
    ]


def test_sid_is_taken_from_the_mirror_of_the_release_with_its_options() -> None:
    entries = [
        Entry(("http://security.example/",), ("bookworm-security",), ("main",), {}),
        Entry(
            ("http://mirror.example/debian", "http://second.example/"),
            ("bookworm", "bookworm-updates"),
            ("main",),
            {"signed-by": "/k.gpg", "check-valid-until": "no"},
        ),
    ]
    assert choose_sid_entry(entries, "bookworm") == Entry(
        ("http://mirror.example/debian",), ("sid",), ("main",), {"signed-by": "/k.gpg", "check-valid-until": "no"}
    )


def test_without_a_mirror_of_the_release_there_is_no_sid() -> None:
    assert choose_sid_entry([Entry(("http://x/",), ("jammy",), ("main",), {})], "bookworm") is None


def test_the_private_configuration_keeps_proxies_and_drops_hooks_and_folders() -> None:
    dump = "\n".join(
        [
            'Acquire::http::Proxy "http://proxy.example:3128";',
            'Acquire::Check-Valid-Until "false";',
            'APT::Update::Post-Invoke:: "rm -f /var/cache/apt/*.bin || true";',
            'DPkg::Post-Invoke:: "/usr/bin/some-hook";',
            'APT::Architectures:: "i386";',
            'Dir::Cache::pkgcache "";',
            'Dir "/";',
            'Acquire::IndexTargets::deb::DEP-11::MetaKey "$(COMPONENT)/dep11";',
            'a line that is "not" a setting',
        ]
    )
    assert private_configuration(dump, {"Dir::State": "/x"}).splitlines() == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::Check-Valid-Until "false";',
        'Dir::State "/x";',
    ]


def test_addresses_in_messages_lose_their_passwords() -> None:
    assert without_password("see http://me:secret@mirror.example/x failed") == "see http://mirror.example/x failed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_CODENAME=bookworm\nID_LIKE="x"\n', Distribution("debian", "bookworm")),
        ("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n", Distribution("ubuntu", "noble")),
        (
            'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n',
            Distribution("ubuntu", "noble"),
        ),
        ("ID=linuxmint\nID_LIKE=debian\nDEBIAN_CODENAME=bookworm\n", Distribution("debian", "bookworm")),
        ("ID=fedora\nVERSION_ID=42\n", Distribution("fedora", "")),
        ("", Distribution("unknown", "")),
    ],
)
def test_the_distribution_is_read_from_os_release(tmp_path: Path, text: str, expected: Distribution) -> None:
    path = tmp_path / "os-release"
    path.write_text(text)
    assert read_distribution(path) == expected
