"""What who deploys may choose, read from the CDK context (`-c name=value`, or cdk.json)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infra.aws.profiles import PROFILES, Profile

_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_DOMAIN: Final = re.compile(r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_CERTIFICATE: Final = r"arn:aws:acm:{region}:[0-9]{{12}}:certificate/[0-9a-f-]+"
_SITE_REGION: Final = "us-east-1"
_SECRET: Final = "arn:aws:secretsmanager:{region}:[0-9]{{12}}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{{6}}"
_DEFAULTS: Final = {
    "profile": "small",
    "region": "us-east-1",
    "domain": "",
    "certificate": "",
    "mongo_uri_secret": "",
    "door_certificate": "",
}


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
    """

    profile: Profile
    region: str
    domain: Domain | None
    mongo_uri_secret: str | None
    door_certificate: str | None = None

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
        return cls(
            profile=PROFILES[given["profile"]],
            region=given["region"],
            domain=Domain(given["domain"], given["certificate"]) if given["domain"] else None,
            mongo_uri_secret=given["mongo_uri_secret"] or None,
            door_certificate=given["door_certificate"] or None,
        )


Given = dict[str, str]


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


def _door_certificate(given: Given) -> str | None:
    if not given["door_certificate"] or _is_certificate(given["door_certificate"], given["region"]):
        return None
    return (
        f"door_certificate: the ARN of a certificate in {given['region']} expected, "
        f"not {given['door_certificate']!r}."
    )


def _is_certificate(arn: str, region: str) -> bool:
    return re.fullmatch(_CERTIFICATE.format(region=re.escape(region)), arn) is not None


_CHECKS: Final = (_profile, _region, _domain, _certificate, _mongo_uri_secret, _door_certificate)
