"""Where S3's credentials, region and endpoint come from: the chain of the AWS command line.

The only module that imports botocore: environment, profiles of ~/.aws, single sign-on, roles,
and what a container or a machine in AWS is given. They go to the store's library and nowhere else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from clipindex.errors import UsageError
from clipindex.files.objects import Listed

if TYPE_CHECKING:
    from botocore.credentials import Credentials

CREDENTIALS_FAIL = "the credentials cannot be renewed: sign in again"
RENEWED = timedelta(minutes=5)  # after which botocore is asked again, which renews them in time


def aws_settings() -> dict[str, Any]:
    """What obstore needs to know of S3, beside what it finds in the environment by itself.

    Raises UsageError when there are no credentials, or they cannot be read.
    """
    from botocore.exceptions import BotoCoreError, ProfileNotFound
    from botocore.session import Session

    session = Session()
    is_public = _is_public()
    try:
        settings: dict[str, Any] = {"region": _region(session)}
        endpoint = _endpoint(session)
        credentials = None if is_public else session.get_credentials()
    except ProfileNotFound as error:
        raise UsageError(str(error), hint="correct AWS_PROFILE, or ~/.aws/config") from None
    except BotoCoreError as error:  # a file that cannot be read, a role that is not complete
        raise UsageError(f"{CREDENTIALS_FAIL} ({type(error).__name__})") from None
    if endpoint:
        settings["endpoint"] = endpoint
    if is_public:
        return settings
    if credentials is None:
        raise UsageError(
            "no credentials for S3 are found",
            hint="sign in as for the AWS command line (`aws configure`, AWS_PROFILE, "
            "AWS_ACCESS_KEY_ID); for a public bucket set AWS_SKIP_SIGNATURE=true",
        )
    return {**settings, "credential_provider": _Provider(credentials)}


def keys_after(name: str, prefix: str, start: str) -> Iterator[Listed]:
    """The keys of a bucket behind `start`, as botocore lists them: also those that are no paths,
    at which obstore gives up. Raises OSError."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    session = Session()
    signing = {"signature_version": UNSIGNED} if _is_public() else {}
    retries = {"mode": "standard", "max_attempts": 6}
    config = Config(retries=retries, s3={"addressing_style": "path"}, **signing)
    try:
        client = session.create_client(
            "s3", region_name=_region(session), endpoint_url=_endpoint(session), config=config
        )
        pages = client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=name, Prefix=prefix, StartAfter=start):
            for item in page.get("Contents", ()):
                written = item["LastModified"].timestamp()
                yield Listed(item["Key"], item["Size"], written, item.get("ETag", ""))
    except (BotoCoreError, ClientError):  # what they say may hold an address with its signature
        raise OSError(errno.EIO, "the listing broke off") from None


def _is_public() -> bool:
    """Whether the user says that the bucket is for everyone, and requests are not signed."""
    return os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true", "yes")


def _region(session: Any) -> str:
    return os.environ.get("AWS_REGION") or session.get_config_variable("region") or "us-east-1"


def _endpoint(session: Any) -> str | None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            return os.environ[name]
    configured: str | None = session.get_scoped_config().get("endpoint_url")
    return configured


class _Provider:
    """Credentials as obstore asks for them, before they expire."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def __call__(self) -> dict[str, Any]:
        try:
            now = self._credentials.get_frozen_credentials()
        except Exception:  # a plug-in or a program of the user's may raise anything, with anything
            raise RuntimeError(CREDENTIALS_FAIL) from None
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": datetime.now(UTC) + RENEWED,
        }
