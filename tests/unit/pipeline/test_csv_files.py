"""An object that is read as a file is the file, however it is read, or an error in one line."""

from __future__ import annotations

import io
import pickle
import ssl
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, IncompleteReadError
from hypothesis import given
from hypothesis import strategies as st

from pipeline import csv_files, s3
from pipeline.csv_files import RemoteFile, open_csv
from pipeline.errors import SourceError
from pipeline.s3 import RemoteObject, client_config
from pipeline.source import Source, Store, open_client, open_store, store_of
from spark_jobs.partitions import cut_ranges, read_range
from tests.certificates import Authority

STORE = Store(
    "eu-west-3", "key", "hidden secret", "hidden token", (), (("https", "http://me:hidden@proxy"),), None, True
)


@dataclass
class FakeStore:
    """Answers ranges of one object; `breaks` says of each answer after how many bytes it breaks off."""

    content: bytes
    etag: str = "one"
    breaks: Iterator[int] = field(default_factory=lambda: iter(()))
    meta: Any = field(default_factory=lambda: SimpleNamespace(endpoint_url="http://127.0.0.1:1"))
    asked: list[range] = field(default_factory=list)

    def get_object(self, *, Range: str, IfMatch: str, **_: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has them
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        self.asked.append(range(first, last + 1))
        if IfMatch != f'"{self.etag}"':
            answer: Any = {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"HTTPStatusCode": 412}}
            raise ClientError(answer, "GetObject")
        part = self.content[first : last + 1]
        body = Body(part, next(self.breaks, len(part)))
        return {"Body": body, "ETag": f'"{self.etag}"', "ContentRange": f"bytes {first}-{last}/{len(self.content)}"}


class Body(io.BytesIO):
    def __init__(self, content: bytes, breaks_at: int) -> None:
        super().__init__(content[:breaks_at])
        self.is_whole = breaks_at >= len(content)

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        if not block and not self.is_whole:
            raise IncompleteReadError(actual_bytes=0, expected_bytes=1)
        return block


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "LONGEST_PAUSE", 0)


def remote(patch: pytest.MonkeyPatch, store: FakeStore) -> RemoteFile:
    patch.setattr(csv_files, "_client", lambda _: store)
    found = RemoteObject("bucket", "some/where/records.csv", store.etag, len(store.content), None, {"IfMatch": '"one"'})
    return RemoteFile(found, STORE)


STEPS = st.tuples(st.sampled_from(["read", "readline", "set", "current", "end"]), st.integers(0, 220))
LINES = st.lists(st.sampled_from([b"1,0,0\n", b"\n", b"x" * 30, b"\r\n", BOM_UTF8]), max_size=12).map(b"".join)


@given(
    content=LINES,
    steps=st.lists(STEPS),
    breaks=st.lists(st.integers(0, 20), max_size=5),
    ahead=st.integers(1, 40),
)
def test_an_object_reads_as_a_file_does_wherever_answers_break_off(
    content: bytes, steps: list[tuple[str, int]], breaks: list[int], ahead: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        path = Path(folder) / "records.csv"
        path.write_bytes(content)
        patch.setattr(csv_files, "_READ_AHEAD", ahead)
        place = remote(patch, FakeStore(content, breaks=iter(breaks)))
        with open_csv(place) as file, open_csv(path) as local:
            for name, number in steps:
                if name in ("read", "readline"):
                    assert getattr(file, name)(number) == getattr(local, name)(number)
                else:
                    whence, base = {"set": (0, 0), "current": (1, local.tell()), "end": (2, len(content))}[name]
                    assert file.seek(number - base, whence) == local.seek(number - base, whence) == number
                assert file.tell() == local.tell()
            assert list(file) == list(local)


@given(content=LINES, size=st.integers(1, 100))
def test_a_range_of_lines_is_what_it_is_of_a_file_and_little_more_is_asked_for(content: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        path = Path(folder) / "records.csv"
        path.write_bytes(content)
        patch.setattr(csv_files, "_READ_AHEAD", 64)
        store = FakeStore(content)
        place = remote(patch, store)
        ranges = cut_ranges(path, size)
        assert cut_ranges(place, size) == ranges
        for first, end in ranges:
            store.asked.clear()
            assert list(read_range(place, first, end)) == list(read_range(path, first, end))
            assert sum(map(len, store.asked)) <= end - first + 64


def test_an_object_that_breaks_off_for_good_or_was_replaced_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore(b"1,0,0\n" * 10, breaks=iter([7, 0, 0, 0, 0, 0, 0, 0]))
    place = remote(monkeypatch, store)
    with open_csv(place) as file, pytest.raises(SourceError, match=r"^s3://bucket/some/where/records\.csv: .*breaking"):
        file.read()
    assert [asked.start for asked in store.asked] == [0] + [7] * (s3.RANGE_ATTEMPTS - 1)

    store.etag = "two"
    with open_csv(place) as file, pytest.raises(SourceError, match=r"records\.csv was replaced .* with FORCE=1$"):
        file.read(1)
    with pytest.raises(SourceError, match="was replaced"):
        list(read_range(place, 6, 60))


def test_a_store_travels_whole_and_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    place = remote(monkeypatch, FakeStore(b""))
    there = pickle.loads(pickle.dumps(place))
    assert (there.store, str(there), there.name) == (STORE, "s3://bucket/some/where/records.csv", "records.csv")
    assert "hidden" not in f"{place!r} {place.store!r}"
    # On a machine whose environment and home folder say otherwise.
    for name in ("AWS_ENDPOINT_URL", "HTTPS_PROXY", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, "http://elsewhere.invalid")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    unsigned = replace(STORE, access_key_id=None, secret_access_key=None, session_token=None)
    for store in (there.store, unsigned):
        assert store_of(open_store(store, client_config(1)), requester_pays=True) == store


@pytest.mark.parametrize(
    ("endpoint", "style", "host"),
    [
        ("", "auto", "bucket.s3.amazonaws.com"),  # as boto3 signs addresses beforehand
        ("", "path", "s3.eu-west-3.amazonaws.com"),
        ("https://store.example:9000", "auto", "store.example:9000"),
        ("https://store.example", "virtual", "bucket.store.example"),
    ],
)
def test_all_that_boto3_has_found_goes_to_a_machine_that_has_none_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority, endpoint: str, style: str, host: str
) -> None:
    (tmp_path / "config").write_text(f"[default]\nregion = eu-west-3\ns3 =\n    addressing_style = {style}\n")
    (tmp_path / "ca.pem").write_bytes(authority.ca.read_bytes())
    environ = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_CA_BUNDLE": str(tmp_path / "ca.pem"),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "AWS_SESSION_TOKEN": "token",
        "HTTPS_PROXY": "http://proxy.example:1",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    store = store_of(open_client(Source("s3")), requester_pays=False)
    (tmp_path / "ca.pem").unlink()
    for name in environ:
        monkeypatch.delenv(name)

    client = open_store(store, client_config(1))
    url = urlsplit(client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "key"}))
    assert (url.scheme, url.netloc) == ("https", host)
    assert "X-Amz-Security-Token=token" in url.query
    assert dict(store.proxies) == {"https": "http://proxy.example:1"}
    for _ in range(2):
        assert ssl.create_default_context(cafile=cast(Any, client)._endpoint.http_session._verify).get_ca_certs()
