"""What each refusal of an object store means: one table from the store's word to an error and what to do."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.domain import (
    RiskAlertsError,
    SettingsError,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)

_AWS_KEYS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use the platform's role"
_AWS_RENEW = (
    "the AWS credentials have expired: renew AWS_SESSION_TOKEN, or run `aws sso login`, or use a role"
)
_AWS_PROFILE = "check AWS_PROFILE, AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE"
_S3_GRANT = "grant s3:GetObject on the objects and s3:ListBucket on the bucket"
_S3_ADDRESS = "check the network, HTTPS_PROXY, AWS_DEFAULT_REGION and S3_ENDPOINT_URL"

_GOOGLE_KEYS = "GOOGLE_APPLICATION_CREDENTIALS or GCS_TOKEN"
_GOOGLE_SET = f"set {_GOOGLE_KEYS} to a key file, or use the platform's identity"
_GOOGLE_RENEW = f"renew {_GOOGLE_KEYS}, or use the platform's identity"
_GCS_GRANT = "grant storage.objects.get and storage.objects.list (roles/storage.objectViewer) on the bucket"
_GCS_PAYS = "the bucket is requester pays: set GCS_USER_PROJECT to the project that pays"

_NOT_ALLOWED = "the credentials may not read it"
_OWN_KEY = (
    "the object is encrypted with a key of the customer's own, which is not supported: store it with {}"
)
_KEY_DISABLED = (
    "the key that encrypts the object is disabled or deleted: enable it, or store the object again"
)
_PROXY_DOWN = "the proxy {host} cannot be reached: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
_UNTRUSTED = (
    "the TLS certificate of {{host}} is not trusted: set {} to a PEM file with the authority's certificate"
)
ENCODED = "the object is stored with Content-Encoding: upload it without (Parquet is compressed inside)"

_MEANINGS: dict[tuple[str, type[RiskAlertsError]], dict[str, str]] = {
    # Amazon S3: the code of its error document (an answer to HEAD has the status alone), or the name of an
    # exception of Amazon's library.
    ("s3", SourceForbidden): {
        "AccessDenied": f"{_NOT_ALLOWED}: {_S3_GRANT} (and set S3_REQUESTER_PAYS if it is requester pays)",
        "ExpiredToken|TokenRefreshRequired": _AWS_RENEW,
        "InvalidAccessKeyId": "the store knows no such AWS_ACCESS_KEY_ID: renew it, or use a role",
        "InvalidToken": (
            "AWS_SESSION_TOKEN does not belong to AWS_ACCESS_KEY_ID or to this store: renew both"
        ),
        "RequestTimeTooSkewed": "the clock of this machine is wrong: set it",
        "SignatureDoesNotMatch": (
            "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID: set both again"
        ),
        "kms:Decrypt": "the KMS key that encrypts the object is not granted: grant kms:Decrypt on the key",
        "KMS.DisabledException|KMS.KMSInvalidStateException|KMS.NotFoundException": _KEY_DISABLED,
        "SSE-C": _OWN_KEY.format("SSE-S3 or SSE-KMS"),
        "InvalidObjectState": (
            "the object is archived (Glacier or Deep Archive): restore it, or copy it to S3 Standard"
        ),
        "400": f"the store refuses the request; often {_AWS_RENEW}",
        "401": f"the store does not accept the credentials: {_AWS_KEYS}",
        "403|PermissionError": f"{_NOT_ALLOWED}: {_S3_GRANT}",
        "NoCredentialsError": f"there are no AWS credentials: {_AWS_KEYS}",
        "PartialCredentialsError": f"the AWS credentials are incomplete: {_AWS_KEYS}",
        "ProfileNotFound": f"there is no profile {{profile}}: {_AWS_PROFILE}",
        "ConfigParseError": f"{{path}} is not in the INI format: {_AWS_PROFILE}",
        "InvalidConfigError|UnknownCredentialError": (
            f"the AWS profile is incomplete or contradictory: {_AWS_PROFILE}"
        ),
        "CredentialRetrievalError|MetadataRetrievalError": (
            "the service that gives the AWS credentials gave none: check AWS_CONTAINER_CREDENTIALS_FULL_URI,"
            " AWS_PROFILE and the platform's role"
        ),
        "SSOError|TokenRetrievalError": (
            "the AWS SSO session has expired: run `aws sso login`, or use a role"
        ),
    },
    ("s3", SourceNotFound): {
        "NoSuchBucket": "no such bucket: check source_uri and S3_ENDPOINT_URL",
        "InvalidBucketName": "S3 allows no bucket of this name: check source_uri",
        "404|FileNotFoundError": "no such object, folder or bucket: check source_uri",
    },
    ("s3", SourceChanged): {
        "412": "the object was replaced while the source was read: run the month again",
    },
    ("s3", SettingsError): {
        "AuthorizationHeaderMalformed|PermanentRedirect|301": (
            "the bucket is in another region: set AWS_DEFAULT_REGION to it; check S3_ENDPOINT_URL"
        ),
        "InvalidRegionError": (
            "{region_name!r} is not a region: set AWS_DEFAULT_REGION, or region in the AWS profile"
        ),
        "Unsupported host": "the host in AWS_CONTAINER_CREDENTIALS_FULL_URI is not allowed: use https",
        # `check_store_variables` has checked the variables.
        "Invalid endpoint": "endpoint_url in the AWS profile is not a URL: write https://host:port",
        "InvalidRetryConfigurationError|InvalidDefaultsMode|InvalidChecksumConfigError"
        "|invalid literal for int": (
            "the AWS profile has a value that cannot be used: check max_attempts, retry_mode, defaults_mode,"
            " request_checksum_calculation and response_checksum_validation"
        ),
    },
    ("s3", SourceUnreachable): {
        "ProxyConnectionError": _PROXY_DOWN,
        "SSLError": _UNTRUSTED.format("AWS_CA_BUNDLE"),
        "EndpointConnectionError": f"{{host}} cannot be reached: {_S3_ADDRESS}",
        "HTTPClientError": f"the store closed the connection: {_S3_ADDRESS}",
    },
    # AWS's service that gives the credentials of a role.
    ("sts", SourceForbidden): {
        "AccessDenied": (
            "the role may not be assumed: check AWS_ROLE_ARN (or role_arn) and the role's trust policy"
        ),
        "ExpiredTokenException": "the token in AWS_WEB_IDENTITY_TOKEN_FILE has expired: renew it",
        "InvalidIdentityToken": (
            "AWS does not accept the token in AWS_WEB_IDENTITY_TOKEN_FILE: check the role's identity provider"
        ),
        "400|403": "AWS gives no credentials for the role: check AWS_ROLE_ARN (or role_arn)",
    },
    # Google Cloud Storage: the reason in its error document, or the name of a library's exception.
    ("gs", SourceForbidden): {
        "userProjectMissing": _GCS_PAYS,
        "AuthenticationRequiredRequesterPays": f"{_GCS_PAYS}, and use credentials",
        "userProjectInvalid": "GCS_USER_PROJECT names no project: set the project's ID",
        "userProjectAccessDenied": (
            "the credentials may not bill GCS_USER_PROJECT: grant serviceusage.services.use on that project"
        ),
        "accountDisabled|userProjectAccountProblem": (
            "the billing of the bucket's project or of GCS_USER_PROJECT is off: enable it"
        ),
        "resourceIsEncryptedWithCustomerEncryptionKey": _OWN_KEY.format("a key of Google's or of Cloud KMS"),
        "cloudKmsDisabledKey|cloudKmsDecryptionKeyNotFound": _KEY_DISABLED,
        "Cloud KMS": (
            "the Cloud KMS key that encrypts the object is not granted: grant it to the service agent"
        ),
        "vpcServiceControls": (
            "a VPC Service Controls perimeter forbids the request: allow this network and identity in it"
        ),
        "accessNotConfigured": "the Cloud Storage API is off in the credentials' project: enable it",
        "insufficientPermissions": (
            "the access scopes of this machine or token leave out Cloud Storage: add devstorage.read_only"
        ),
        "anonymous": f"there are no Google credentials: {_GOOGLE_SET}",
        "400": "the store refuses the request: check source_uri and GCS_ENDPOINT_URL",
        "401": f"the token has expired or was revoked: {_GOOGLE_RENEW}",
        "403": f"{_NOT_ALLOWED}: {_GCS_GRANT}",
        "missing file": f"the Google credentials need {{path}}, which is missing: check {_GOOGLE_KEYS}",
        "metadata service": f"the metadata server gives no Google credentials: {_GOOGLE_SET}",
        "DefaultCredentialsError": f"there are no usable Google credentials: {_GOOGLE_SET}",
        "RefreshError": (
            f"the Google credentials have expired or were revoked, or this clock is wrong: {_GOOGLE_RENEW}"
        ),
        "NonRetryableError": f"the Google credentials cannot be renewed: {_GOOGLE_RENEW}",
    },
    ("gs", SourceNotFound): {
        "invalid": "Google allows no bucket of this name: check source_uri",
        "404|FileNotFoundError": "no such object, folder or bucket: check source_uri",
    },
    ("gs", SourceUnreachable): {
        "rateLimitExceeded|userRateLimitExceeded|quotaExceeded": (
            "the store reports an error of its own or too many requests: run the month again later"
        ),
        "407|ClientHttpProxyError": "the proxy refuses the request: check HTTPS_PROXY and its credentials",
        "TransportError": (
            "the service that gives the Google credentials cannot be reached: check the network and"
            " HTTPS_PROXY"
        ),
        "ClientProxyConnectionError": _PROXY_DOWN,
        "ClientSSLError": _UNTRUSTED.format("SSL_CERT_FILE"),
        "ClientConnectorError": (
            "{host} cannot be reached: check the network, HTTPS_PROXY and GCS_ENDPOINT_URL"
        ),
    },
}
"""What each provider's word means: a code, a status, the name of an exception, or a value of `_PHRASES`."""

REFUSALS = {
    (provider, word): (error, meaning)
    for (provider, error), meanings in _MEANINGS.items()
    for words, meaning in meanings.items()
    for word in words.split("|")
}

_PHRASES = {
    "kms:Decrypt": "kms:Decrypt",
    "Server Side Encryption": "SSE-C",
    "Invalid endpoint": "Invalid endpoint",
    "Unsupported host": "Unsupported host",
    "invalid literal for int": "invalid literal for int",
    "requester pays": "userProjectMissing",
    "Cloud KMS": "Cloud KMS",
    "Anonymous caller": "anonymous",
    "was not found": "missing file",
    "metadata service": "metadata service",
}
"""Phrases in a provider's text that mean more than its code. The text may hold secrets: never show it."""


@dataclass(eq=False)
class Refused(Exception):
    """A refusal: HTTP status, codes and text of the error document; `issuer`, if not the store itself."""

    status: int | None
    codes: Sequence[str] = ()
    text: str = ""
    issuer: str | None = None


def refusal(
    refused: Refused, provider: str, what: str, kinds: Sequence[str], facts: Mapping[str, Any]
) -> RiskAlertsError | None:
    """Return the error, about `what`, for the first word that `REFUSALS` has, or None.

    The refusal's phrases go first, then its codes, then `kinds`, the names of a library's exceptions. `facts`
    are the values of placeholders in `REFUSALS`.
    """
    codes = [*refused.codes, str(refused.status)]
    phrases = [word for phrase, word in _PHRASES.items() if phrase in refused.text]
    for word in (*phrases, *codes, *kinds):
        if found := REFUSALS.get((refused.issuer or provider, word)):
            error, meaning = found
            # The provider's code helps a search; the name of a Python exception does not.
            shown = f" ({'HTTP ' * word.isdigit()}{word})" if word in codes else ""
            return error(f"{what}: {meaning.format_map(defaultdict(str, facts))}{shown}")
    return None
