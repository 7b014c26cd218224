"""What a store means by its refusals, and what to do about each."""

from botocore import exceptions as boto
from gcsfs.retry import NonRetryableError
from google.auth import exceptions as google

_RENEW_AWS = "the credentials have expired: renew AWS_SESSION_TOKEN (`aws sso login`), or use a role"
_S3_NEEDS = "s3:GetObject on its objects and s3:ListBucket on its bucket"
_GCS_NEEDS = "storage.objects.get and storage.objects.list (roles/storage.objectViewer) on its bucket"

S3_CODES = {
    "AccessDenied": f"the credentials are good, but may not read it: they need {_S3_NEEDS}",
    "ExpiredToken": _RENEW_AWS,
    "InvalidAccessKeyId": "the store knows no such AWS_ACCESS_KEY_ID: renew it, or use a role",
    "InvalidToken": "AWS_SESSION_TOKEN is not one of the store's, or does not belong to AWS_ACCESS_KEY_ID",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID",
    "TokenRefreshRequired": _RENEW_AWS,
}
"""By the code of S3's error document; some come with 400, some with 403."""

_STATUSES = {
    401: "the token has expired or was revoked: renew GCS_TOKEN or GOOGLE_APPLICATION_CREDENTIALS, or use"
    " the platform's identity",
    403: f"the credentials may not read it: they need {_S3_NEEDS}, or {_GCS_NEEDS}",
    # To a HEAD, which has no room for a reason, S3 says only this when a token is expired.
    400: _RENEW_AWS,
}

_NONE = "there are no credentials: use the platform's identity, or {}"
_KINDS: dict[type[BaseException], str] = {
    boto.NoCredentialsError: _NONE.format("AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    google.DefaultCredentialsError: _NONE.format("GOOGLE_APPLICATION_CREDENTIALS or GCS_TOKEN"),
    google.RefreshError: "Google takes the credentials no more: they have expired or were revoked, or this"
    " machine's clock is wrong; renew GOOGLE_APPLICATION_CREDENTIALS or GCS_TOKEN",
    google.MalformedError: "GOOGLE_APPLICATION_CREDENTIALS or GCS_TOKEN can't be read",
    boto.PartialCredentialsError: "only half of the AWS credentials is there",
    boto.ProfileNotFound: "AWS_PROFILE names no profile that is there",
    boto.CredentialRetrievalError: "the AWS credentials can't be got from where they are kept",
    boto.SSOError: _RENEW_AWS,
    boto.TokenRetrievalError: _RENEW_AWS,
    NonRetryableError: "the Google credentials can't be renewed: GOOGLE_APPLICATION_CREDENTIALS or GCS_TOKEN",
    PermissionError: "the store refused the credentials",
}
"""No or bad credentials, found out on this side or at the service that issues them."""


def explain(error: Exception, status: int | None, code: str | None) -> str | None:
    """Say what a refusal means and what to do, and by what it is known; None when it is no refusal.

    `status` and `code` are those of the answer, where there was one. Only words that are known are repeated:
    a store's own text may hold a token.
    """
    if code in S3_CODES:
        return f"{S3_CODES[code]} ({code})"
    if isinstance(error, google.RefreshError) and error.retryable:
        return None
    if isinstance(error, OSError) and str(error).startswith("Forbidden"):
        status = 403  # gcsfs keeps no status for it.
    if status in {401, 403} or (status == 400 and code == "400"):  # noqa: PLR2004
        return f"{_STATUSES[status]} (HTTP {status})"
    for kind, meaning in _KINDS.items():
        if isinstance(error, kind):
            return f"{meaning} ({type(error).__name__})"
    return None
