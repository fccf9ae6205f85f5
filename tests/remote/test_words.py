"""No word about a URL lets anybody in, and what went wrong is said so that somebody can act."""

import errno

import pytest

from scaleprof.remote.words import Changed, explained, passes, without_secrets


class Answer(Exception):
    """What a client raises of an HTTP answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status}, message='no', url='https://me:pw@host/x?Signature=abc'")
        self.status = status


class NoCredentialsError(Exception):
    """As botocore calls it."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pass@host/a.json?X-Amz-Signature=abc&x=1", "https://host/a.json"),
        ("see https://h/a?sig=1 and s3://k:s@b/c", "see https://h/a and s3://b/c"),
        ("--run=x=https://h/a?token", "--run=x=https://h/a"),
        ("s3://bucket/rank?.json", "s3://bucket/rank?.json"),
        ("s3://bucket/a.json?versionId=1", "s3://bucket/a.json"),
        ("'https://h/a?b=c'", "'https://h/a'"),
        ("https://u@h", "https://h"),
        ("traces/a@b?c=d", "traces/a@b?c=d"),
        ("who@host said https://h/", "who@host said https://h/"),
    ],
)
def test_what_lets_others_in_is_taken_out(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    ("error", "number", "said", "again"),
    [
        (Answer(403), errno.EACCES, "access was refused (403 Forbidden): are credentials set, and still valid?", False),
        (Answer(401), errno.EACCES, "access was refused (401 Unauthorized): are", False),
        (Answer(404), errno.ENOENT, "there is no such file (404 Not Found): check the spelling", False),
        (Answer(400), errno.EIO, "the server says 400 Bad Request", False),
        (Answer(503), errno.EIO, "the server says 503 Service Unavailable, 3 times: check the connection", True),
        (Answer(429), errno.EIO, "the server says 429 Too Many Requests", True),
        (NoCredentialsError(), errno.EACCES, "no credentials were found", False),
        (PermissionError("no"), errno.EACCES, "access was refused: are", False),
        (FileNotFoundError("x"), errno.ENOENT, "there is no such file: check", False),
        (ConnectionResetError("peer https://me:pw@h/x?Sig=1"), errno.EIO, "ConnectionResetError: peer https://h/x, 3", True),
        (TimeoutError(), errno.EIO, "TimeoutError, 3 times", True),
        (Changed(), errno.EIO, "it changed while it was read", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)  # fmt: skip
def test_what_went_wrong_is_said_in_words(error: Exception, number: int, said: str, again: bool) -> None:
    told = explained(error, 3)
    assert told.errno == number
    assert told.strerror.startswith(said)
    assert passes(error) == again


def test_what_fsspec_calls_a_missing_file_is_looked_behind() -> None:
    missing = FileNotFoundError("https://h/x")
    missing.__cause__ = Answer(503)
    assert passes(missing)
    assert "503" in explained(missing, 1).strerror
    missing.__cause__ = ConnectionRefusedError("refused")
    assert passes(missing)
    assert "refused" in explained(missing, 1).strerror
