"""What may be chosen, and what a wrong choice is told."""

from __future__ import annotations

import pytest

from infra.aws.costs import lines, month_usd
from infra.aws.deployment import Deployment, Domain, InvalidContext
from infra.aws.profiles import PROFILES

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0a1b2c3d-0000-1111-2222-333344445555"
DOOR_CERTIFICATE = CERTIFICATE.replace("us-east-1", "eu-west-1")
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mongo/uri-AbCdEf"


def read(**given: str) -> Deployment:
    return Deployment.from_context(given.get)


def test_without_a_choice_it_is_the_size_that_costs_little() -> None:
    assert read() == Deployment(
        PROFILES["small"],
        "us-east-1",
        domain=None,
        mongo_uri_secret=None,
        door_certificate=None,
        alarm_email=None,
        budget_usd=95,
    )


def test_everything_can_be_chosen() -> None:
    chosen = read(
        profile="gpu",
        region="eu-west-1",
        domain="models.example.com",
        certificate=CERTIFICATE,
        mongo_uri_secret=SECRET,
        door_certificate=DOOR_CERTIFICATE,
        alarm_email="ops+rocket@example.com",
        budget_usd="250",
    )
    assert chosen == Deployment(
        PROFILES["gpu"],
        "eu-west-1",
        Domain("models.example.com", CERTIFICATE),
        mongo_uri_secret=SECRET,
        door_certificate=DOOR_CERTIFICATE,
        alarm_email="ops+rocket@example.com",
        budget_usd=250,
    )
    assert chosen.origin == "https://models.example.com"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"profile": "huge"}, "profile: one of small, standard, gpu expected, not 'huge'."),
        ({"region": "Frankfurt"}, "region: "),
        (
            {"region": "xx-east-1"},
            "region: it is not known who signs DocumentDB's certificates in xx-east-1.",
        ),
        ({"domain": "https://example.com", "certificate": CERTIFICATE}, "domain: "),
        ({"domain": "models.example.com"}, "certificate: "),
        ({"certificate": CERTIFICATE}, "certificate: "),
        (
            {"domain": "models.example.com", "certificate": CERTIFICATE.replace("us-east-1", "eu-west-1")},
            "certificate: ",
        ),
        ({"region": "us-east-1", "mongo_uri_secret": SECRET}, "mongo_uri_secret: "),
        ({"region": "eu-west-1", "door_certificate": CERTIFICATE}, "door_certificate: "),
        ({"alarm_email": "ops"}, "alarm_email: "),
        ({"alarm_email": "a@example.com, b@example.com"}, "alarm_email: "),
        ({"budget_usd": "0"}, "budget_usd: "),
        ({"budget_usd": "99.5"}, "budget_usd: "),
        ({"budget_usd": "a lot"}, "budget_usd: "),
    ],
)
def test_a_wrong_choice_is_named(given: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidContext) as refused:
        read(**given)
    assert str(refused.value).startswith(problem)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", PROFILES)
def test_without_a_budget_it_is_half_again_what_stands_costs(name: str) -> None:
    stands = month_usd(lines(PROFILES[name]))
    assert read(profile=name).budget_usd == pytest.approx(1.5 * stands, abs=1)


def test_all_wrong_choices_are_named_at_once() -> None:
    with pytest.raises(InvalidContext) as refused:
        read(profile="huge", region="x", domain="y")
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "profile",
        "region",
        "domain",
        "certificate",
    ]


def test_a_uri_with_its_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidContext) as refused:
        read(mongo_uri_secret="mongodb+srv://me:hunter2@cluster.example.net/")
    assert "hunter2" not in str(refused.value)


def test_a_mongodb_elsewhere_can_be_for_a_region_that_is_new() -> None:
    assert (
        read(region="xx-east-1", mongo_uri_secret=SECRET.replace("eu-west-1", "xx-east-1")).region
        == "xx-east-1"
    )
