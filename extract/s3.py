"""What is asked of an S3 store, and what its answers mean."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.errors import PipelineError, SettingsError, SourceError

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

CONNECT_SECONDS = 10
READ_SECONDS = 30
# boto3 tries a request this often.
REQUEST_ATTEMPTS = 4

_BLOCK = 256 << 10
_CONTINUE = "run the same command again, it continues where this one stopped"
_SET_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE)"
_MD5 = re.compile(r"([0-9a-f]{32})(?:-([1-9][0-9]{0,4}))?")

_BAD_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_MISSING_OBJECT = {"404", "NotFound", "NoSuchKey"}
_REPLACED = {"412", "PreconditionFailed"}
_SLOW_DOWN = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}


class ReplacedError(Exception):
    """The object is no longer the one that the download began with."""


class ShortBodyError(Exception):
    """An answer ended before the range that was asked for did."""


@dataclass(frozen=True)
class RemoteObject:
    """An object in S3, as it was when it was looked at.

    Attributes:
        bucket: its bucket.
        key: its key in the bucket.
        etag: its ETag, without the quotes.
        size_bytes: its size.
        md5_part_bytes: where the ETag is made of MD5 sums: the size of the parts that they are of, which is the
            object's own size when it was not uploaded in parts. None where the ETag says nothing of the content.
    """

    bucket: str
    key: str
    etag: str
    size_bytes: int
    md5_part_bytes: int | None

    @property
    def uri(self) -> str:
        """The object's address."""
        return f"s3://{self.bucket}/{self.key}"


def client_config(connections: int) -> Config:
    """Give the time limits and retries of an S3 client that is used by several threads."""
    from botocore.config import Config  # noqa: PLC0415

    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": REQUEST_ATTEMPTS},
        response_checksum_validation="when_required",  # ranges have none, and not every store knows the header
    )


def look_at(client: S3Client, bucket: str, key: str) -> RemoteObject:
    """Ask S3 for an object's ETag and size.

    Raises:
        SourceError: there is no such object, or it cannot be read.
        SettingsError: the credentials are incomplete.
    """
    uri = f"s3://{bucket}/{key}"
    with s3_errors(uri, endpoint_of(client)):
        try:
            head = client.head_object(Bucket=bucket, Key=key)
        except client.exceptions.ClientError:
            # The answer to a HEAD has no body, so it cannot say what is wrong. That to a GET does.
            with closing(client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"]):
                raise
        size = head["ContentLength"]
        etag = head["ETag"].strip('"')
        return RemoteObject(bucket, key, etag, size, _md5_part_bytes(client, bucket, key, head))


def read_range(client: S3Client, found: RemoteObject, bytes_: range) -> Iterator[bytes]:
    """Read a range of an object block by block.

    Raises:
        ReplacedError: the object has changed.
        ShortBodyError: there is less than the range.
        SourceError: the store gives another range.
    """
    wanted = f"bytes={bytes_.start}-{bytes_.stop - 1}"
    answer = client.get_object(Bucket=found.bucket, Key=found.key, Range=wanted, IfMatch=f'"{found.etag}"')
    body = answer["Body"]
    with closing(body):
        if answer["ETag"].strip('"') != found.etag:
            raise ReplacedError
        if answer.get("ContentRange") != f"bytes {bytes_.start}-{bytes_.stop - 1}/{found.size_bytes}":
            raise SourceError(
                f"{found.uri}: the store does not answer {wanted} with that range of the object: check"
                " AWS_ENDPOINT_URL, and whether a proxy or cache on the way knows ranges"
            )
        left = len(bytes_)
        while left:
            block = body.read(min(_BLOCK, left))
            if not block:
                raise ShortBodyError(f"an answer ended {left:,} bytes early")
            left -= len(block)
            yield block


def is_passing(error: Exception) -> bool:
    """Whether the same request may well succeed in a moment.

    Args:
        error: what asking for a range, or reading the answer, raised.
    """
    from botocore import exceptions  # noqa: PLC0415

    if isinstance(error, exceptions.ClientError):
        return _is_busy(*_code(error))
    if isinstance(error, exceptions.SSLError):
        return False
    broken = (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)
    return isinstance(error, (ShortBodyError, OSError, *broken))


class EtagSum:
    """The ETag of an object that S3 makes of MD5 sums.

    It is the MD5 of the content, or, of an upload in parts, the MD5 of the parts' MD5 sums, a dash and their number.
    """

    def __init__(self, part_bytes: int | None) -> None:
        self._part_bytes = part_bytes
        self._sums: list[bytes] = []
        self._part, self._left = self._new(), part_bytes or 0

    def update(self, block: bytes) -> None:
        """Take the next bytes of the content."""
        rest = memoryview(block)
        while self._part_bytes is not None and rest:
            if not self._left:
                self._sums.append(self._part.digest())
                self._part, self._left = self._new(), self._part_bytes
            taken = rest[: self._left]
            self._part.update(taken)
            self._left -= len(taken)
            rest = rest[len(taken) :]

    def etag(self, *, in_parts: bool) -> str:
        """Give the ETag of what was taken: of an upload in parts, or of one in a single piece."""
        sums: list[bytes] = [*self._sums, self._part.digest()]
        if not in_parts:
            return sums[0].hex()
        return f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"

    @staticmethod
    def _new() -> Any:
        return hashlib.md5(usedforsecurity=False)


def _md5_part_bytes(client: S3Client, bucket: str, key: str, head: HeadObjectOutputTypeDef) -> int | None:
    """Tell which parts an ETag is the MD5 of; see `RemoteObject.md5_part_bytes`."""
    etag = _MD5.fullmatch(head["ETag"].strip('"'))
    is_plain = head.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in head
    if etag is None or not is_plain:
        return None
    size, count = head["ContentLength"], etag[2]
    if count is None:
        return size
    try:
        part_bytes = client.head_object(Bucket=bucket, Key=key, PartNumber=1)["ContentLength"]
    except client.exceptions.ClientError:
        return None  # the store does not tell
    return part_bytes if part_bytes and -(-size // part_bytes) == int(count) else None


@contextmanager
def s3_errors(uri: str, endpoint: str = "the S3 server") -> Iterator[None]:
    """Turn what boto3 raises into one line that names the object and what to do.

    Args:
        uri: the object.
        endpoint: the server, as messages name it.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except ClientError as error:
        raise _explain_answer(error, uri, endpoint) from error
    except BotoCoreError as error:
        raise _explain_failure(error, uri, endpoint) from error
    except (ShortBodyError, OSError) as error:
        raise SourceError(f"{uri}: {endpoint} keeps breaking off ({error}): {_CONTINUE}") from error
    except ValueError as error:
        if not str(error).startswith("Invalid endpoint"):
            raise
        raise SettingsError("AWS_ENDPOINT_URL is not a URL such as https://s3.example.org:9000") from error


def _code(error: Any) -> tuple[str, int]:
    answer = error.response
    return (
        str(answer.get("Error", {}).get("Code", "")),
        int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)),
    )


def _explain_answer(error: Any, uri: str, endpoint: str) -> Exception:
    code, status = _code(error)
    if code in _REPLACED:
        return ReplacedError()
    if code in _BAD_CREDENTIALS:
        what = f"{endpoint} refuses the credentials ({code}): check {_SET_CREDENTIALS}"
    elif code == "NoSuchBucket":
        bucket = urlsplit(uri).netloc
        what = f"{endpoint} has no bucket {bucket}: check source.bucket in pipeline.yml, and AWS_ENDPOINT_URL"
    elif code in _MISSING_OBJECT or status == 404:
        what = f"there is no such object at {endpoint}: check MODE, DATASET, and source.prefixes in pipeline.yml"
    elif status in (401, 403):
        what = f"{endpoint} does not let you read it ({code}): check {_SET_CREDENTIALS}, and the bucket's policy"
    elif _is_busy(code, status):
        what = f"{endpoint} keeps answering {status} {code}: {_CONTINUE}"
    else:
        what = f"{endpoint} answers {status} {code}: check source in pipeline.yml, and AWS_ENDPOINT_URL"
    return SourceError(f"{uri}: {what}")


def _is_busy(code: str, status: int) -> bool:
    return status >= 500 or status == 429 or code in _SLOW_DOWN


def _explain_failure(error: Exception, uri: str, endpoint: str) -> PipelineError:
    from botocore import exceptions  # noqa: PLC0415

    reason = " ".join(str(error).split())
    if isinstance(
        error,
        (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.ProfileNotFound,
            exceptions.ConfigParseError,
            exceptions.SSOError,
            exceptions.TokenRetrievalError,
        ),
    ):
        return SettingsError(f"{uri}: {reason}: set {_SET_CREDENTIALS}")
    if isinstance(error, exceptions.SSLError):
        return SourceError(f"{uri}: no trusted TLS connection to {endpoint}: check AWS_ENDPOINT_URL and AWS_CA_BUNDLE")
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)):
        what = "does not answer" if isinstance(error, exceptions.ConnectionError) else "keeps breaking off"
        return SourceError(
            f"{uri}: {endpoint} {what} ({type(error).__name__}): check the network and AWS_ENDPOINT_URL, and"
            f" {_CONTINUE}"
        )
    return SourceError(f"{uri}: {type(error).__name__}: {reason}")


def endpoint_of(client: S3Client) -> str:
    """Name a client's server, without what a URL may hold of credentials."""
    url = urlsplit(client.meta.endpoint_url)
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.hostname}{port}"
