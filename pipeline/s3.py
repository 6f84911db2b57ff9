"""What is asked of an S3 store, and what its answers mean."""

from __future__ import annotations

import hashlib
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.errors import MissingObjectError, PipelineError, SettingsError, SourceError
from pipeline.printable import printable
from pipeline.settings import object_uri

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 10
READ_SECONDS = 30
# boto3 tries a request this often.
REQUEST_ATTEMPTS = 4
# A range whose body breaks off is asked for again, from where it broke off, until so many tries in a row brought
# nothing. boto3 has then tried each request several times as well.
RANGE_ATTEMPTS = 6
LONGEST_PAUSE = 10.0

_BLOCK = 256 << 10
_CONTINUE = "run the same command again, it continues where this one stopped"
_SET_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE)"
_MD5 = re.compile(r"([0-9a-f]{32})(?:-([1-9][0-9]{0,4}))?")

_REPLACED = {"412", "PreconditionFailed"}
_SLOW_DOWN = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
_WHERE = "MODE, DATASET and SOURCE, and source in pipeline.yml"

_NO_SUCH_OBJECT = "has no such object", f"check {_WHERE}"
_CHECK_POLICY = (
    f"check {_SET_CREDENTIALS}, the bucket's policy, source.requester_pays in pipeline.yml, and the name: of what is"
    f" not there the same is told to whoever may not list the bucket ({_WHERE})"
)
_NOT_LET = "does not let you read it", _CHECK_POLICY

# What each of the codes means, and what a person can do about it. Codes: the S3 API Reference, "Error responses"; of
# other stores, Alibaba OSS and Tencent COS among them, the pages of that name.
_REMEDIES: Mapping[tuple[str, ...], tuple[str, str]] = {
    (
        "AuthFailure",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSecurityToken",
        "InvalidToken",
        "SignatureDoesNotMatch",
    ): ("refuses the credentials", f"check {_SET_CREDENTIALS}"),
    ("ExpiredToken", "RequestExpired", "SecurityTokenExpired", "TokenRefreshRequired"): (
        "refuses the credentials, which have expired",
        f"get new ones for {_SET_CREDENTIALS}, and {_CONTINUE}",
    ),
    ("NoSuchBucket", "InvalidBucketName"): (
        "has no bucket {bucket}",
        "check SOURCE, source.bucket in pipeline.yml, and AWS_ENDPOINT_URL",
    ),
    ("404", "NotFound", "NoSuchKey", "NoSuchVersion", "MethodNotAllowed"): _NO_SUCH_OBJECT,
    ("InvalidObjectState",): (
        "keeps it in a class for archives, such as Glacier",
        "restore it (aws s3api restore-object), and run the same command again when that is done",
    ),
    ("SecondLevelDomainForbidden", "PathStyleDomainForbidden", "InvalidPathAccess"): (
        "takes addresses that begin with the bucket's name, and no others",
        "aws configure set default.s3.addressing_style virtual",
    ),
    (
        "301",
        "307",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
    ): ("has the bucket in another region{region}", "set AWS_DEFAULT_REGION to it, and check AWS_ENDPOINT_URL"),
    ("RequestTimeTooSkewed",): ("refuses the time of this machine", "set its clock right"),
    ("AccountProblem", "AllAccessDisabled", "NotSignedUp", "UnderArrear", "UserDisable", "UserSuspended"): (
        "has closed the account or the bucket",
        "the message has its reason; settle it with the store",
    ),
    ("KMS.AccessDeniedException", "KMS.DisabledException", "KMS.KMSInvalidStateException", "KMS.NotFoundException"): (
        "does not let you use the key that it is encrypted with",
        "have its policy let you decrypt",
    ),
    ("407",): ("is reached by a proxy that asks for a name and a password", "write them into HTTPS_PROXY"),
}
# A store's own words are shown, but not what may be a key or a token among them.
_LONGEST_MESSAGE = 200
_LONG_WORD = re.compile(r"[^\s]{40,}")

# Whose errors are never faults of ours.
_LIBRARIES = {"boto3", "botocore", "http", "s3transfer", "ssl", "urllib3"}
_OURS = {"embedded", "extract", "pipeline"}


class ReplacedError(Exception):
    """The object is no longer the one that the download began with."""


class LibraryError(Exception):
    """Where a library has raised what, without its words: they may be of an address, a key or a token."""


class ShortBodyError(Exception):
    """An answer ended before the range that was asked for did."""


@dataclass(frozen=True)
class RemoteObject:
    """An object in S3, as it was when it was looked at.

    Attributes:
        bucket: its bucket.
        key: its key in the bucket.
        etag: its ETag, without the quotes and the mark of a weak one, or when it was changed where it has none.
        size_bytes: its size.
        md5_part_bytes: where the ETag is made of MD5 sums: the size of the parts that they are of, which is the
            object's own size when it was not uploaded in parts. None where the ETag says nothing of the content.
        pin: what a request says so that it gets this version of the object or nothing.
    """

    bucket: str
    key: str
    etag: str
    size_bytes: int
    md5_part_bytes: int | None
    pin: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def uri(self) -> str:
        """The object's address."""
        return object_uri(self.bucket, self.key)


def client_config(connections: int) -> Config:
    """Give the time limits and retries of an S3 client that is used by several threads."""
    from botocore.config import Config

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
    uri, endpoint = object_uri(bucket, key), endpoint_of(client)
    with s3_errors(uri, endpoint):
        answer: Mapping[str, Any] = {}
        with suppress(client.exceptions.ClientError):  # the answer to a HEAD has no body to say what is wrong
            answer = client.head_object(Bucket=bucket, Key=key)
        if "ContentLength" not in answer or version_of(answer) is None:
            answer = {**answer, **_look_by_get(client, bucket, key)}
        size, version = answer.get("ContentLength"), version_of(answer)
        if size is None or version is None:
            what = "how large it is" if size is None else "which version of it is there (by ETag or Last-Modified)"
            raise SourceError(
                f"{uri}: {endpoint} does not say {what}, as every S3 store does: check AWS_ENDPOINT_URL, and what is on"
                " the way to it"
            )
        etag, is_strong = _etag(answer)
        pin = {"IfMatch": f'"{etag}"'} if is_strong else {} if etag else {"IfUnmodifiedSince": answer["LastModified"]}
        md5_part_bytes = _md5_part_bytes(client, bucket, key, answer) if is_strong else None
        return RemoteObject(bucket, key, version, size, md5_part_bytes, pin)


def _look_by_get(client: S3Client, bucket: str, key: str) -> dict[str, Any]:
    """Ask for an object's first byte: what a HEAD cannot say, and what is lost of its answer on the way."""
    answer: dict[str, Any] = {**client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")}
    answer.pop("Body").close()
    if "ContentRange" in answer:
        size = answer.pop("ContentRange").rpartition("/")[2]
        del answer["ContentLength"]
        return answer | ({"ContentLength": int(size)} if size.isdecimal() else {})
    return answer


def _etag(answer: Mapping[str, Any]) -> tuple[str, bool]:
    """Read an answer's ETag: its text, which is empty where there is none, and whether it is a strong one.

    A proxy that packs what it passes on makes a weak one of it, `W/"..."` (RFC 9110, 8.8.3).
    """
    text = str(answer.get("ETag") or "").strip()
    return text.removeprefix("W/").strip('"'), not text.startswith("W/") and bool(text)


def version_of(answer: Mapping[str, Any]) -> str | None:
    """Name the version of an object that an answer is of; None where it says neither its ETag nor its time."""
    modified = answer.get("LastModified")
    return _etag(answer)[0] or (f"modified {modified:%Y-%m-%dT%H:%M:%SZ}" if modified else None)


def read_range(client: S3Client, found: RemoteObject, bytes_: range) -> Iterator[bytes]:
    """Read a range of an object block by block.

    Raises:
        ReplacedError: the object has changed.
        ShortBodyError: there is less than the range.
        SourceError: the store gives another range.
    """
    wanted = f"bytes={bytes_.start}-{bytes_.stop - 1}"
    answer = client.get_object(Bucket=found.bucket, Key=found.key, Range=wanted, **found.pin)
    body = answer["Body"]
    with closing(body):
        if version_of(answer) != found.etag:
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


def read_on(
    client: S3Client, found: RemoteObject, bytes_: range, pause: Callable[[float], object] = time.sleep
) -> Iterator[bytes]:
    """Read a range of an object block by block, and go on from where it broke off when it does.

    Args:
        client: the S3 client.
        found: the object.
        bytes_: which of its bytes.
        pause: waits some seconds; what it gives is true where the range is wanted no more.

    Raises:
        Exception: as `read_range` has it, of the last of several tries.
    """
    position, failures = bytes_.start, 0
    while position < bytes_.stop:
        try:
            for block in read_range(client, found, range(position, bytes_.stop)):
                position += len(block)
                failures = 0
                yield block
        except Exception as error:
            failures += 1
            if failures >= RANGE_ATTEMPTS or not is_passing(error) or pause(min(LONGEST_PAUSE, 0.25 * 2**failures)):
                raise


def is_passing(error: Exception) -> bool:
    """Whether the same request may well succeed in a moment.

    Args:
        error: what asking for a range, or reading the answer, raised.
    """
    from botocore import exceptions

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


def _md5_part_bytes(client: S3Client, bucket: str, key: str, head: Mapping[str, Any]) -> int | None:
    """Tell which parts an ETag is the MD5 of; see `RemoteObject.md5_part_bytes`."""
    etag = _MD5.fullmatch(_etag(head)[0])
    is_plain = head.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in head
    if etag is None or not is_plain:
        return None
    size, count = int(head["ContentLength"]), etag[2]
    if count is None:
        return size
    try:
        part_bytes = client.head_object(Bucket=bucket, Key=key, PartNumber=1).get("ContentLength")
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
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except ClientError as error:
        raise _explain_answer(error, uri, endpoint) from _wordless(error)
    except BotoCoreError as error:
        if type(error) is HTTPClientError:  # of an error that it has no name for
            raise _explain_other(error, uri, endpoint) from _wordless(error)
        raise _explain_failure(error, uri, endpoint) from _wordless(error)
    except (ShortBodyError, OSError) as error:
        raise SourceError(f"{uri}: {endpoint} keeps breaking off ({error}): {_CONTINUE}") from _wordless(error)
    except Exception as error:
        explained = _explain_other(error, uri, endpoint)
        if explained is error:
            raise
        raise explained from _wordless(error)


def _wordless(error: Exception) -> LibraryError:
    return LibraryError(type(error).__name__).with_traceback(error.__traceback__)


def _explain_other(error: Exception, uri: str, endpoint: str) -> Exception:
    """Explain what was raised inside a library; what was raised elsewhere is a fault of ours, and stays as it is.

    Its text is not shown, nor where it came from: it may be of the headers of a request, credentials among them.
    """
    if isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"):
        return SettingsError("AWS_ENDPOINT_URL is not a URL such as https://s3.example.org:9000")
    names = (
        str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    )
    whose = [name for name in names if name in _LIBRARIES or name in _OURS]
    if whose and whose[-1] in _OURS:
        return error
    return SettingsError(
        f"{uri}: no request can be made to {endpoint}, or its answer not read ({type(error).__name__}): check AWS_* in"
        " the environment, ~/.aws/config, and whether an S3 store answers there"
    )


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
    told = error.response.get("Error", {})
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = told.get("Region") or headers.get("x-amz-bucket-region")
    fault, remedy = known = _remedy_for(code, status)
    what = fault.format(bucket=urlsplit(uri).netloc, region=f", {region}" if region else "")
    message = printable(_LONG_WORD.sub("…", " ".join(str(told.get("Message", "")).split())))[:_LONGEST_MESSAGE]
    says = f'; it says "{message}"' if message else ""
    kind = MissingObjectError if known in (_NO_SUCH_OBJECT, _NOT_LET) else SourceError
    return kind(f"{uri}: {endpoint} {what} ({code}): {remedy}{says}")


def _remedy_for(code: str, status: int) -> tuple[str, str]:
    """Give what an answer means, and what to do about it."""
    known = next((told for codes, told in _REMEDIES.items() if code in codes or str(status) in codes), None)
    if known:
        return known
    if status in (401, 403):
        return _NOT_LET
    if _is_busy(code, status):
        return f"keeps answering {status}", _CONTINUE
    return f"answers {status}", f"check {_WHERE}, and AWS_ENDPOINT_URL"


def _is_busy(code: str, status: int) -> bool:
    return status >= 500 or status == 429 or code in _SLOW_DOWN


def _explain_failure(error: Exception, uri: str, endpoint: str) -> PipelineError:
    from botocore import exceptions

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
            f"{uri}: {endpoint} {what} ({type(error).__name__}): check the network{_proxy_of(endpoint)} and"
            f" AWS_ENDPOINT_URL, and {_CONTINUE}"
        )
    return SettingsError(f"{uri}: {type(error).__name__}, {reason}: check AWS_* in the environment, and ~/.aws/config")


def _proxy_of(endpoint: str) -> str:
    """Name the proxy that the environment puts before a server, without what its URL may hold of credentials."""
    from botocore.utils import get_environ_proxies

    url = urlsplit(get_environ_proxies(endpoint).get(urlsplit(endpoint).scheme, ""))
    return f", the proxy {url.hostname} that the environment names (NO_PROXY excepts addresses)" if url.hostname else ""


def endpoint_of(client: S3Client) -> str:
    """Name a client's server, without what a URL may hold of credentials."""
    url = urlsplit(client.meta.endpoint_url)
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.hostname}{port}"
