"""What each refusal of an object store means: one table from the store's word to our error and what to do."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from core.domain import (
    RiskAlertsError,
    SettingsError,
    SourceForbidden,
    SourceInvalid,
    SourceNotFound,
    SourceUnreachable,
)

Refusal: TypeAlias = tuple[type[RiskAlertsError], str]

_AWS_KEYS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use the platform's role"
_AWS_RENEW = (
    "the AWS credentials have expired: renew AWS_SESSION_TOKEN, or run `aws sso login`, or use a role"
)
_AWS_SERVICE = (
    "the service that gives the AWS credentials gave none: check AWS_CONTAINER_CREDENTIALS_FULL_URI"
)
_AWS_PROFILE = "check AWS_PROFILE, AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE"
_S3_GRANT = "grant s3:GetObject on the objects and s3:ListBucket on the bucket"
_S3_ADDRESS = "check the network, HTTPS_PROXY, AWS_DEFAULT_REGION and S3_ENDPOINT_URL"
_SSE_C = (
    "the object is encrypted with a key of the customer's own, which cannot be given here: store it with {}"
)
_KMS_DISABLED = (
    "the key that encrypts the object is disabled or deleted: enable it, or store the object again"
)

_GOOGLE_KEYS = "GOOGLE_APPLICATION_CREDENTIALS or GCS_TOKEN"
_GOOGLE_RENEW = f"renew {_GOOGLE_KEYS}, or use the platform's identity"
_GCS_GRANT = "grant storage.objects.get and storage.objects.list (roles/storage.objectViewer) on the bucket"
_GCS_PAYS = "the bucket is requester pays: set GCS_USER_PROJECT to the project that pays"

_TRUST = (
    "the TLS certificate of {{host}} is not trusted: set {} to a PEM file with the authority's certificate"
)
_IN_TROUBLE = "the store reports an error of its own or too many requests: run the month again later"
ENCODED = "the object is stored with Content-Encoding: upload it without (Parquet is compressed inside)"

REFUSALS: dict[tuple[str, str], Refusal] = {
    # Amazon S3: the code of its error document; the answer to a HEAD has the status alone.
    ("s3", "AccessDenied"): (
        SourceForbidden,
        f"the credentials may not read it: {_S3_GRANT} (and set S3_REQUESTER_PAYS if it is requester pays)",
    ),
    ("s3", "ExpiredToken"): (SourceForbidden, _AWS_RENEW),
    ("s3", "TokenRefreshRequired"): (SourceForbidden, _AWS_RENEW),
    ("s3", "InvalidAccessKeyId"): (
        SourceForbidden,
        "the store knows no such AWS_ACCESS_KEY_ID: renew it, or use a role",
    ),
    ("s3", "InvalidToken"): (
        SourceForbidden,
        "AWS_SESSION_TOKEN does not belong to AWS_ACCESS_KEY_ID or to this store: renew both",
    ),
    ("s3", "RequestTimeTooSkewed"): (SourceForbidden, "the clock of this machine is wrong: set it"),
    ("s3", "SignatureDoesNotMatch"): (
        SourceForbidden,
        "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID: set both again",
    ),
    ("s3", "kms:Decrypt"): (
        SourceForbidden,
        "the credentials may not use the KMS key that encrypts the object: grant kms:Decrypt on the key",
    ),
    ("s3", "KMS.DisabledException"): (SourceForbidden, _KMS_DISABLED),
    ("s3", "KMS.KMSInvalidStateException"): (SourceForbidden, _KMS_DISABLED),
    ("s3", "KMS.NotFoundException"): (SourceForbidden, _KMS_DISABLED),
    ("s3", "SSE-C"): (SourceForbidden, _SSE_C.format("SSE-S3 or SSE-KMS")),
    ("s3", "InvalidObjectState"): (
        SourceForbidden,
        "the object is archived (Glacier or Deep Archive): restore it, or copy it to S3 Standard",
    ),
    ("s3", "NoSuchBucket"): (SourceNotFound, "no such bucket: check source_uri and S3_ENDPOINT_URL"),
    ("s3", "InvalidBucketName"): (SourceNotFound, "S3 allows no bucket of this name: check source_uri"),
    ("s3", "AuthorizationHeaderMalformed"): (
        SettingsError,
        "the store expects another region: set AWS_DEFAULT_REGION to the bucket's",
    ),
    ("s3", "PermanentRedirect"): (
        SettingsError,
        "the bucket is in another region: set AWS_DEFAULT_REGION to it, and S3_ENDPOINT_URL if that is set",
    ),
    ("s3", "301"): (
        SettingsError,
        "the bucket is in another region: set AWS_DEFAULT_REGION to it, and S3_ENDPOINT_URL if that is set",
    ),
    ("s3", "400"): (SourceForbidden, f"the store refuses the request; often {_AWS_RENEW}"),
    ("s3", "401"): (SourceForbidden, f"the store does not accept the credentials: {_AWS_KEYS}"),
    ("s3", "403"): (SourceForbidden, f"the credentials may not read it: {_S3_GRANT}"),
    ("s3", "404"): (SourceNotFound, "no such object, folder or bucket: check source_uri"),
    # The role that the credentials come from.
    ("sts", "AccessDenied"): (
        SourceForbidden,
        "the role may not be assumed: check AWS_ROLE_ARN (or role_arn) and the role's trust policy",
    ),
    ("sts", "ExpiredTokenException"): (
        SourceForbidden,
        "the token in AWS_WEB_IDENTITY_TOKEN_FILE has expired: renew it",
    ),
    ("sts", "InvalidIdentityToken"): (
        SourceForbidden,
        "AWS does not accept the token in AWS_WEB_IDENTITY_TOKEN_FILE: check the role's identity provider",
    ),
    ("sts", "400"): (
        SourceForbidden,
        "AWS gives no credentials for the role: check AWS_ROLE_ARN (or role_arn)",
    ),
    ("sts", "403"): (
        SourceForbidden,
        "AWS gives no credentials for the role: check AWS_ROLE_ARN (or role_arn)",
    ),
    # Amazon's library: the name of its exception.
    ("s3", "NoCredentialsError"): (SourceForbidden, f"there are no AWS credentials: {_AWS_KEYS}"),
    ("s3", "PartialCredentialsError"): (
        SourceForbidden,
        f"the AWS credentials are incomplete, such as a key without its secret: {_AWS_KEYS}",
    ),
    ("s3", "ProfileNotFound"): (SourceForbidden, f"there is no profile {{profile}}: {_AWS_PROFILE}"),
    ("s3", "ConfigParseError"): (
        SourceForbidden,
        f"{{path}} is not in the INI format: {_AWS_PROFILE}",
    ),
    ("s3", "InvalidConfigError"): (
        SourceForbidden,
        f"the AWS profile is incomplete or contradictory: {_AWS_PROFILE}",
    ),
    ("s3", "UnknownCredentialError"): (
        SourceForbidden,
        f"the AWS profile names no known source of credentials: {_AWS_PROFILE}",
    ),
    ("s3", "CredentialRetrievalError"): (
        SourceForbidden,
        f"{_AWS_SERVICE}, AWS_PROFILE and the platform's role",
    ),
    ("s3", "MetadataRetrievalError"): (
        SourceForbidden,
        _AWS_SERVICE,
    ),
    ("s3", "SSOError"): (
        SourceForbidden,
        "the AWS SSO session has expired: run `aws sso login`, or use a role",
    ),
    ("s3", "TokenRetrievalError"): (
        SourceForbidden,
        "the AWS SSO session has expired: run `aws sso login`, or use a role",
    ),
    ("s3", "PermissionError"): (SourceForbidden, f"the credentials may not read it: {_S3_GRANT}"),
    ("s3", "InvalidRegionError"): (
        SettingsError,
        "{region_name!r} is not a region: set AWS_DEFAULT_REGION, or region in the AWS profile",
    ),
    ("s3", "InvalidRetryModeError"): (
        SettingsError,
        "AWS_RETRY_MODE, or retry_mode in the AWS profile, is wrong: set standard, adaptive or legacy",
    ),
    ("s3", "InvalidDefaultsMode"): (
        SettingsError,
        "AWS_DEFAULTS_MODE, or defaults_mode in the AWS profile, is wrong: set standard",
    ),
    ("s3", "InvalidChecksumConfigError"): (
        SettingsError,
        (
            "AWS_REQUEST_CHECKSUM_CALCULATION or AWS_RESPONSE_CHECKSUM_VALIDATION, or the AWS profile,"
            " is wrong: set when_required"
        ),
    ),
    ("s3", "Invalid endpoint"): (
        SettingsError,
        (
            "AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or endpoint_url in the AWS profile, is not a URL: write"
            " https://host:port"
        ),
    ),
    ("s3", "Unsupported host"): (
        SettingsError,
        "the host in AWS_CONTAINER_CREDENTIALS_FULL_URI is not allowed: use https",
    ),
    ("s3", "invalid literal for int"): (
        SettingsError,
        "AWS_MAX_ATTEMPTS, or max_attempts in the AWS profile, is not a whole number: set 3",
    ),
    ("s3", "ProxyConnectionError"): (
        SourceUnreachable,
        "the proxy {host} cannot be reached: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
    ),
    ("s3", "SSLError"): (SourceUnreachable, _TRUST.format("AWS_CA_BUNDLE")),
    ("s3", "EndpointConnectionError"): (SourceUnreachable, f"{{host}} cannot be reached: {_S3_ADDRESS}"),
    ("s3", "HTTPClientError"): (SourceUnreachable, f"the store closed the connection: {_S3_ADDRESS}"),
    # Google Cloud Storage: the reason in its error document.
    ("gs", "userProjectMissing"): (SourceForbidden, _GCS_PAYS),
    ("gs", "AuthenticationRequiredRequesterPays"): (SourceForbidden, f"{_GCS_PAYS}, and use credentials"),
    ("gs", "userProjectInvalid"): (
        SourceForbidden,
        "GCS_USER_PROJECT names no project: set the project's ID",
    ),
    ("gs", "userProjectAccessDenied"): (
        SourceForbidden,
        "the credentials may not bill GCS_USER_PROJECT: grant serviceusage.services.use on that project",
    ),
    ("gs", "accountDisabled"): (
        SourceForbidden,
        "the billing of the bucket's project or of GCS_USER_PROJECT is off: enable it",
    ),
    ("gs", "userProjectAccountProblem"): (
        SourceForbidden,
        "the billing of the bucket's project or of GCS_USER_PROJECT is off: enable it",
    ),
    ("gs", "resourceIsEncryptedWithCustomerEncryptionKey"): (
        SourceForbidden,
        _SSE_C.format("a key of Google's or of Cloud KMS"),
    ),
    ("gs", "cloudKmsDisabledKey"): (SourceForbidden, _KMS_DISABLED),
    ("gs", "cloudKmsDecryptionKeyNotFound"): (SourceForbidden, _KMS_DISABLED),
    ("gs", "Cloud KMS"): (
        SourceForbidden,
        "Cloud Storage may not use the Cloud KMS key that encrypts the object: grant it to its service agent",
    ),
    ("gs", "vpcServiceControls"): (
        SourceForbidden,
        "a VPC Service Controls perimeter forbids the request: allow this network and identity in it",
    ),
    ("gs", "accessNotConfigured"): (
        SourceForbidden,
        "the Cloud Storage API is off in the credentials' project: enable it",
    ),
    ("gs", "insufficientPermissions"): (
        SourceForbidden,
        "the access scopes of this machine or token leave out Cloud Storage: add devstorage.read_only",
    ),
    ("gs", "rateLimitExceeded"): (SourceUnreachable, _IN_TROUBLE),
    ("gs", "userRateLimitExceeded"): (SourceUnreachable, _IN_TROUBLE),
    ("gs", "quotaExceeded"): (SourceUnreachable, _IN_TROUBLE),
    ("gs", "anonymous"): (
        SourceForbidden,
        f"there are no Google credentials: set {_GOOGLE_KEYS}, or use the platform's identity",
    ),
    ("gs", "invalid"): (SourceNotFound, "Google allows no bucket of this name: check source_uri"),
    ("gs", "400"): (SourceForbidden, "the store refuses the request: check source_uri and GCS_ENDPOINT_URL"),
    ("gs", "401"): (SourceForbidden, f"the token has expired or was revoked: {_GOOGLE_RENEW}"),
    ("gs", "403"): (SourceForbidden, f"the credentials may not read it: {_GCS_GRANT}"),
    ("gs", "404"): (SourceNotFound, "no such object, folder or bucket: check source_uri"),
    ("gs", "407"): (
        SourceUnreachable,
        "the proxy refuses the request: check HTTPS_PROXY and its credentials",
    ),
    ("gs", "elsewhere"): (
        SourceUnreachable,
        "the store redirects to another address, which is not followed: check GCS_ENDPOINT_URL",
    ),
    ("gs", "encoded"): (SourceInvalid, ENCODED),
    # Google's libraries: the name of their exception.
    ("gs", "DefaultCredentialsError"): (
        SourceForbidden,
        f"there are no usable Google credentials: set {_GOOGLE_KEYS}, or use the platform's identity",
    ),
    ("gs", "RefreshError"): (
        SourceForbidden,
        f"the Google credentials have expired or were revoked, or this clock is wrong: {_GOOGLE_RENEW}",
    ),
    ("gs", "MalformedError"): (
        SourceForbidden,
        f"the Google credentials cannot be read: check {_GOOGLE_KEYS}",
    ),
    ("gs", "NonRetryableError"): (
        SourceForbidden,
        f"the Google credentials cannot be renewed: {_GOOGLE_RENEW}",
    ),
    ("gs", "TransportError"): (
        SourceUnreachable,
        "the service that gives the Google credentials cannot be reached: check the network and HTTPS_PROXY",
    ),
    ("gs", "ClientProxyConnectionError"): (
        SourceUnreachable,
        "the proxy {host} cannot be reached: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
    ),
    ("gs", "ClientHttpProxyError"): (
        SourceUnreachable,
        "the proxy refuses the request: check HTTPS_PROXY and its credentials",
    ),
    ("gs", "ClientSSLError"): (SourceUnreachable, _TRUST.format("SSL_CERT_FILE")),
    ("gs", "ClientConnectorError"): (
        SourceUnreachable,
        "{host} cannot be reached: check the network, HTTPS_PROXY and GCS_ENDPOINT_URL",
    ),
}
"""By provider and its own word: a code, a status, the name of an exception, or a key of `_PHRASES`."""

_PHRASES = {
    "kms:Decrypt": "kms:Decrypt",
    "Server Side Encryption": "SSE-C",
    "Invalid endpoint": "Invalid endpoint",
    "Unsupported host": "Unsupported host",
    "invalid literal for int": "invalid literal for int",
    "requester pays": "userProjectMissing",
    "Cloud KMS": "Cloud KMS",
    "Anonymous caller": "anonymous",
}
"""Phrases in a provider's text that mean more than its code. The text may hold secrets: it is never shown."""


def refusal(  # noqa: PLR0913 - one place decides, whatever a library hands over
    provider: str,
    what: str,
    codes: Sequence[str],
    kinds: Sequence[str] = (),
    *,
    text: str = "",
    facts: Mapping[str, Any] | None = None,
) -> RiskAlertsError | None:
    """Return the error, about `what`, that the first known word stands for, or None when none is known.

    `codes`: the provider's codes and statuses. `kinds`: names of a library's exceptions. `text`: the
    provider's own, whose phrases go first. `facts`: values of the placeholders in `REFUSALS`.
    """
    phrases = [word for phrase, word in _PHRASES.items() if phrase in text]
    for word in (*phrases, *codes, *kinds):
        if found := REFUSALS.get((provider, word)):
            error, meaning = found
            # The provider's word helps a search; a library's is nobody's.
            shown = f" ({'HTTP ' * word.isdigit()}{word})" if word in codes else ""
            return error(f"{what}: {meaning.format_map(defaultdict(str, facts or {}))}{shown}")
    return None
