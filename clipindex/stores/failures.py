"""What a failed request means to a user: the reason, what helps, and whether to try again."""

from __future__ import annotations

import json
import re
import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

PASSING = {408, 425, 429}  # statuses worth a retry, with those from 500 on except 501 and 505


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed attempt."""

    reason: str  # completes "the server ..."
    hint: str
    passing: bool = False  # a retry may help
    retry_after: float | None = None  # seconds, where the server named them
    too_large: bool = False  # a smaller request may help
    was_cut: bool = False  # the connection was: also by a server that reads no more of a large body
    disk_full: bool = False  # the server's


class ErrorAnswer(Exception):
    """An HTTP answer that is not a success with JSON, raised before it is parsed."""

    def __init__(self, status: int, headers: httpx.Headers, body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.headers = headers
        self.body = body


class AnswerFault(Exception):
    """An answer that is too slow, too large or compressed; the text completes "the server ..."."""


def status_of(error: Exception) -> int | None:
    """The HTTP status of the answer that caused an exception, None where there was no answer."""
    return error.status if isinstance(error, ErrorAnswer) else None


def understand(error: Exception, timeout: int) -> Failure:
    """What an exception that a request raised means to a user; `timeout` in seconds."""
    match error:
        case ErrorAnswer():
            return _answered(error)
        case AnswerFault():
            return Failure(reason=str(error), hint=_IS_IT_QDRANT)
        case httpx.TimeoutException():
            return Failure(
                reason=f"did not answer within {timeout} s",
                hint="give a slow server, or one that loads a large collection, a longer --timeout",
                passing=True,
            )
        case httpx.ConnectError() if _is_tls(error):
            return Failure(
                reason=f"has no certificate that this machine trusts ({_text(error)})",
                hint="name its authority in SSL_CERT_FILE; for plain http write http://",
            )
        case httpx.ConnectError():
            return Failure(
                reason=f"cannot be reached ({_text(error)})",
                hint="is it running, and are host and port right? Qdrant's port is 6333",
                passing=True,
            )
        case httpx.TransportError():
            return replace(_later(f"cut the connection ({_text(error)})"), was_cut=True)
        case json.JSONDecodeError():
            return _later("sent an answer that is cut short")
        case _:  # a 200 without an answer of Qdrant's: AssertionError, ValidationError, ...
            reason = f"sent an answer that is not Qdrant's ({type(error).__name__})"
            return Failure(reason=reason, hint=_IS_IT_QDRANT)


_BUSY = "gets too many requests (429)"
_IS_IT_QDRANT = "is --url that of a Qdrant server, with no proxy or login page in between?"
_LATER = "finished batches are safe; run the same command again once the server has recovered"


def _later(reason: str, retry_after: float | None = None) -> Failure:
    return Failure(reason=reason, hint=_LATER, passing=True, retry_after=retry_after)


def _answered(answer: ErrorAnswer) -> Failure:
    status = answer.status
    message = _server_message(answer)
    if status in (200, 201, 202):
        return Failure(
            reason="answers with something that is not JSON, such as a web page",
            hint=_IS_IT_QDRANT,
        )
    if 300 <= status < 400:
        return Failure(
            reason=f"redirects to {_redirect_target(answer.headers)} ({status})",
            hint="if that is the Qdrant server, name it in --url",
        )
    if status in (401, 403):
        return Failure(
            reason=f"denies access ({status}){message}",
            hint="set a key that is allowed to do this in the environment, as CLIPINDEX_API_KEY",
        )
    if status == 404:
        return Failure(reason=f"does not know that name ({status}){message}", hint=_IS_IT_QDRANT)
    if status == 507 or any(words in message for words in _NO_ROOM):
        return Failure(
            reason=f"has no room left ({status}){message}",
            hint="free space on the server's disk, or raise its limit; finished batches are safe",
            disk_full=True,
        )
    if status == 413 or (status == 400 and "larger than allowed" in message):
        return Failure(
            reason=f"takes no request of this size ({status}){message}",
            hint="raise the limit of the server, or of the proxy before it (nginx: "
            "client_max_body_size)",
            too_large=True,
        )
    if status == 429 and "larger than rate limiter capacity" in message:
        return Failure(
            reason=f"never takes as much in a minute ({status}){message}",
            hint="raise read_rate_limit and write_rate_limit in the collection's strict mode",
            too_large=True,
        )
    if status == 429:
        return _later(_BUSY + message, _retry_after(answer.headers))
    if status in PASSING or (status >= 500 and status not in (501, 505)):
        return _later(f"is in trouble ({status}){message}", _retry_after(answer.headers))
    return Failure(reason=f"refuses ({status}){message}", hint="the server's own message says why")


# In Qdrant's messages: of the write-ahead log, of the system, and of strict mode.
_NO_ROOM = ("No space left", "Disk usage is at", "os error 28")


def _server_message(answer: ErrorAnswer) -> str:
    """Qdrant's own message, where there is one: in JSON, or of a denied access in plain text that
    does not say what it is."""
    try:
        message = json.loads(answer.body)["status"]["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        if not answer.headers.get("content-type", "text/plain").startswith("text/plain"):
            return ""
        message = " ".join(answer.body[:1200].decode("utf-8", "replace").split())
    return f": {str(message)[:300]}" if message else ""


def _redirect_target(headers: httpx.Headers) -> str:
    """Scheme and host of the new address; user names and queries may be secret."""
    try:
        target = urlsplit(headers.get("location", ""))
    except ValueError:
        return "an address that is not a URL"
    return f"{target.scheme}://{target.netloc.rpartition('@')[2]}" if target.netloc else "?"


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds to wait; the header is a number of seconds or a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]{1,9}", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _text(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
