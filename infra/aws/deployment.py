"""What who deploys may choose, read from the CDK context (`-c name=value`, or cdk.json)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from infra.aws.costs import Choices, lines, month_usd
from infra.aws.profiles import PROFILES, Profile
from infra.packaging import certificates

_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_DOMAIN: Final = re.compile(r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_CERTIFICATE: Final = r"arn:aws:acm:{region}:[0-9]{{12}}:certificate/[0-9a-f-]+"
_SITE_REGION: Final = "us-east-1"
_SECRET: Final = "arn:aws:secretsmanager:{region}:[0-9]{{12}}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{{6}}"
_EMAIL: Final = re.compile(r"[^@\s,]+@[^@\s,]+\.[A-Za-z]{2,63}")
_USD: Final = re.compile(r"[1-9]\d{0,6}")
_BUDGET_RATIO: Final = 1.5
"""Of what stands when nothing is asked."""
_DEFAULTS: Final = {
    "profile": "small",
    "region": "us-east-1",
    "domain": "",
    "certificate": "",
    "mongo_uri_secret": "",
    "door_certificate": "",
    "alarm_email": "",
    "budget_usd": "",
    "sign_up": "closed",
    "concurrency": "reserved",
}
PARAMETERS: Final = tuple(_DEFAULTS)


_SIGN_UP: Final = ("closed", "open")
_CONCURRENCY: Final = ("reserved", "shared")


class InvalidContext(Exception):
    """Every problem at once, one a line."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A name of one's own. `certificate`: the ARN of its certificate, in us-east-1 as CloudFront wants it."""

    name: str
    certificate: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """`domain`: None for a name that CloudFront gives. `mongo_uri_secret`: None for a DocumentDB of its own.

    The secret's value is the URI of a MongoDB that runs elsewhere. The URI itself has a password in it, which
    would be in every template for all to read: hence its ARN.
    `door_certificate`: the ARN of the certificate of the hosts' own door; None for no such door.
    `alarm_email`: who is told of alarms and of the budget; None for nobody but the topic's subscribers.
    `budget_usd`: a month, of the whole account.
    `sign_up_open`: whoever comes may make an account; else operators make them.
    `concurrency_reserved`: each function has a share of what the account may run at once.
    """

    profile: Profile
    region: str
    domain: Domain | None
    mongo_uri_secret: str | None
    door_certificate: str | None
    alarm_email: str | None
    budget_usd: int
    sign_up_open: bool = False
    concurrency_reserved: bool = True

    @property
    def origin(self) -> str | None:
        """Of the site's pages; None as long as it has no name."""
        return f"https://{self.domain.name}" if self.domain else None

    @classmethod
    def from_context(cls, read: Callable[[str], object]) -> Deployment:
        """`read`: a parameter's value, None where it is not given. Raises InvalidContext."""
        given = {name: str(read(name) or default) for name, default in _DEFAULTS.items()}
        problems = [problem for check in _CHECKS if (problem := check(given))]
        if problems:
            raise InvalidContext("\n".join(problems))
        profile = PROFILES[given["profile"]]
        return cls(
            profile=profile,
            region=given["region"],
            domain=Domain(given["domain"], given["certificate"]) if given["domain"] else None,
            mongo_uri_secret=given["mongo_uri_secret"] or None,
            door_certificate=given["door_certificate"] or None,
            alarm_email=given["alarm_email"] or None,
            budget_usd=int(given["budget_usd"] or ceil(_BUDGET_RATIO * _month_usd(profile, given))),
            sign_up_open=given["sign_up"] == "open",
            concurrency_reserved=given["concurrency"] == "reserved",
        )


Given = dict[str, str]


def said(read: Callable[[str], object]) -> Given:
    """What is not left to the defaults. The region is not among it: it is where all of it is."""
    found = {name: str(read(name) or "") for name in PARAMETERS if name != "region"}
    return {name: value for name, value in found.items() if value}


def _month_usd(profile: Profile, given: Given) -> float:
    chosen = Choices(
        mongo_is_outside=bool(given["mongo_uri_secret"]),
        has_domain=bool(given["domain"]),
        has_door=bool(given["door_certificate"]),
    )
    return month_usd(lines(profile, chosen))


def _profile(given: Given) -> str | None:
    if given["profile"] in PROFILES:
        return None
    return f"profile: one of {', '.join(PROFILES)} expected, not {given['profile']!r}."


def _region(given: Given) -> str | None:
    if _REGION.fullmatch(given["region"]):
        return None
    return f"region: one such as us-east-1 expected, not {given['region']!r}."


def _domain(given: Given) -> str | None:
    if not given["domain"] or _DOMAIN.fullmatch(given["domain"]):
        return None
    return f"domain: a name such as models.example.com expected, not {given['domain']!r}."


def _certificate(given: Given) -> str | None:
    if bool(given["domain"]) is bool(given["certificate"]) is False:
        return None
    if given["domain"] and _is_certificate(given["certificate"], _SITE_REGION):
        return None
    return (
        "certificate: the ARN of the domain's certificate in us-east-1 expected, "
        f"where there is a domain and only there, not {given['certificate']!r}."
    )


def _mongo_uri_secret(given: Given) -> str | None:
    """What is no ARN may be the URI itself, so it is not repeated."""
    pattern = _SECRET.format(region=re.escape(given["region"]))
    if not given["mongo_uri_secret"] or re.fullmatch(pattern, given["mongo_uri_secret"]):
        return None
    return f"mongo_uri_secret: the ARN of a secret in {given['region']} expected whose value is the URI."


def _documentdb(given: Given) -> str | None:
    known = certificates.regions(certificates.BUNDLE.read_text())
    if given["mongo_uri_secret"] or given["region"] in known or not _REGION.fullmatch(given["region"]):
        return None
    return (
        f"region: it is not known who signs DocumentDB's certificates in {given['region']}. Renew them, as "
        "infra/packaging/certificates.py says, or give mongo_uri_secret."
    )


def _door_certificate(given: Given) -> str | None:
    if not given["door_certificate"] or _is_certificate(given["door_certificate"], given["region"]):
        return None
    return (
        f"door_certificate: the ARN of a certificate in {given['region']} expected, "
        f"not {given['door_certificate']!r}."
    )


def _alarm_email(given: Given) -> str | None:
    if not given["alarm_email"] or _EMAIL.fullmatch(given["alarm_email"]):
        return None
    return f"alarm_email: one address such as ops@example.com expected, not {given['alarm_email']!r}."


def _budget_usd(given: Given) -> str | None:
    if not given["budget_usd"] or _USD.fullmatch(given["budget_usd"]):
        return None
    return f"budget_usd: whole US dollars a month expected, such as 100, not {given['budget_usd']!r}."


def _sign_up(given: Given) -> str | None:
    if given["sign_up"] in _SIGN_UP:
        return None
    return f"sign_up: one of {', '.join(_SIGN_UP)} expected, not {given['sign_up']!r}."


def _concurrency(given: Given) -> str | None:
    if given["concurrency"] in _CONCURRENCY:
        return None
    return f"concurrency: one of {', '.join(_CONCURRENCY)} expected, not {given['concurrency']!r}."


def _is_certificate(arn: str, region: str) -> bool:
    return re.fullmatch(_CERTIFICATE.format(region=re.escape(region)), arn) is not None


_CHECKS: Final = (
    _profile,
    _region,
    _domain,
    _certificate,
    _mongo_uri_secret,
    _documentdb,
    _door_certificate,
    _alarm_email,
    _budget_usd,
    _sign_up,
    _concurrency,
)
