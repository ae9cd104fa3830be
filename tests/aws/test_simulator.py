"""The simulator against what IAM's user guide says of policies; the sentences are its own, shortened."""

from __future__ import annotations

from typing import Any

import pytest

from tests.aws.simulator import Decision, Request, Statement, Unsupported, decide, holds

BUCKET = "arn:aws:s3:::models"
READ = Request("s3:GetObject", f"{BUCKET}/models/a/b")


def allow(action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> Statement:
    return {**allow(action, resource), "Effect": "Deny", **more}


# By default requests are denied; an explicit allow overrides that; an explicit deny overrides any allow.


@pytest.mark.parametrize(
    ("statements", "decision"),
    [
        pytest.param([], Decision.REFUSED, id="nothing says anything"),
        pytest.param([allow()], Decision.ALLOWED, id="one allows"),
        pytest.param([allow("s3:PutObject")], Decision.REFUSED, id="one allows something else"),
        pytest.param([allow("s3:PutObject"), allow()], Decision.ALLOWED, id="one of several allows"),
        pytest.param([allow(), deny()], Decision.DENIED, id="one denies after all"),
        pytest.param([deny(), allow()], Decision.DENIED, id="whichever comes first"),
        pytest.param([deny()], Decision.DENIED, id="one denies what none allows"),
        pytest.param([allow(), deny("s3:PutObject")], Decision.ALLOWED, id="one denies something else"),
        pytest.param([allow(), deny(resource=BUCKET)], Decision.ALLOWED, id="one denies it elsewhere"),
        pytest.param(
            [allow(), deny(Condition={"Bool": {"aws:SecureTransport": "false"}})],
            Decision.ALLOWED,
            id="one denies it under a condition that is not met",
        ),
    ],
)
def test_one_that_denies_outweighs_all_that_allow(statements: list[Statement], decision: Decision) -> None:
    assert decide(statements, READ) is decision


# Actions are not case-sensitive; * and ? stand for any characters and any one.


@pytest.mark.parametrize(
    ("pattern", "is_met"),
    [
        pytest.param("s3:GetObject", True, id="itself"),
        pytest.param("S3:getobject", True, id="in other letters"),
        pytest.param("s3:Get*", True, id="what begins so"),
        pytest.param("s3:*Object", True, id="what ends so"),
        pytest.param("s3:Get?bject", True, id="but for a letter"),
        pytest.param("*", True, id="anything"),
        pytest.param("s3:GetObjec?t", False, id="but for a letter more"),
        pytest.param("s3:GetObjectVersion", False, id="a longer one"),
        pytest.param("s3:GetObj", False, id="a shorter one"),
        pytest.param("s3express:GetObject", False, id="another service"),
        pytest.param(["s3:PutObject", "s3:Get*"], True, id="one of several"),
        pytest.param([], False, id="none"),
    ],
)
def test_actions_are_named_or_matched(pattern: Any, is_met: bool) -> None:
    assert (decide([allow(pattern)], READ) is Decision.ALLOWED) is is_met


# Wildcards are within one segment of an ARN; a star that ends a segment can go beyond the colon.


@pytest.mark.parametrize(
    ("pattern", "resource", "is_met"),
    [
        pytest.param(f"{BUCKET}/models/*", f"{BUCKET}/models/a/b", True, id="an object under a prefix"),
        pytest.param(f"{BUCKET}/models/*", f"{BUCKET}/models/", True, id="the prefix itself"),
        pytest.param(f"{BUCKET}/models/*", f"{BUCKET}/staging/a", False, id="one under another"),
        pytest.param(f"{BUCKET}/models/*", f"{BUCKET}/Models/a", False, id="in other letters"),
        pytest.param(f"{BUCKET}/models/*", BUCKET, False, id="the bucket of the objects"),
        pytest.param(BUCKET, f"{BUCKET}/models/a", False, id="an object of the bucket"),
        pytest.param(f"{BUCKET}*", "arn:aws:s3:::models-of-others/a", True, id="another bucket after all"),
        pytest.param("arn:aws:s3:::m*s/a", "arn:aws:s3:::models/b/s/a", True, id="a slash is no boundary"),
        pytest.param("arn:aws:ecs:*:1:task/c/*", "arn:aws:ecs:eu-west-1:1:task/c/t", True, id="any region"),
        pytest.param(
            "arn:aws:ecs:*1:1:task/c", "arn:aws:ecs:eu-west-1:1:1:task/c", False, id="not over a colon"
        ),
        pytest.param("arn:aws:logs:*", "arn:aws:logs:r:1:log-group:l:*", True, id="all that begins so"),
        pytest.param("arn:aws:logs:*:l", "arn:aws:logs:r:1:log-group:l", True, id="over what is left out"),
        pytest.param(
            "arn:aws:secretsmanager:r:1:secret:url-??????",
            "arn:aws:secretsmanager:r:1:secret:url-AbCdEf",
            True,
            id="six characters more",
        ),
        pytest.param(
            "arn:aws:secretsmanager:r:1:secret:url-??????",
            "arn:aws:secretsmanager:r:1:secret:url-of-others-AbCdEf",
            False,
            id="more than six",
        ),
        pytest.param("*", "*", True, id="all of it, asked for all of it"),
        pytest.param("arn:aws:ecs:r:1:container-instance/c/*", "*", False, id="some of it, asked for all"),
        pytest.param([BUCKET, f"{BUCKET}/*"], f"{BUCKET}/a", True, id="one of several"),
        pytest.param("arn:aws:s3:::a.b", "arn:aws:s3:::aXb", False, id="a dot is a dot"),
    ],
)
def test_resources_are_named_or_matched(pattern: Any, resource: str, is_met: bool) -> None:
    decision = decide([allow(resource=pattern)], Request("s3:GetObject", resource))
    assert (decision is Decision.ALLOWED) is is_met


# All operators and all keys must hold; of one key's values one. A key that is not there does not match.

CONTEXT = {"kms:ViaService": "s3.r.amazonaws.com", "ecs:cluster": "arn:aws:ecs:r:1:cluster/c"}


@pytest.mark.parametrize(
    ("condition", "is_met"),
    [
        pytest.param({}, True, id="none"),
        pytest.param({"StringEquals": {"kms:ViaService": "s3.r.amazonaws.com"}}, True, id="equal"),
        pytest.param(
            {"StringEquals": {"KMS:viaservice": "s3.r.amazonaws.com"}}, True, id="a key has no case"
        ),
        pytest.param({"StringEquals": {"kms:ViaService": "S3.r.amazonaws.com"}}, False, id="a value has"),
        pytest.param({"StringEquals": {"kms:ViaService": "s3.*"}}, False, id="equal takes no wildcards"),
        pytest.param({"StringLike": {"kms:ViaService": "s3.?.amazonaws.*"}}, True, id="like does"),
        pytest.param({"StringLike": {"kms:ViaService": "s3.r"}}, False, id="like all of it"),
        pytest.param(
            {"StringEquals": {"kms:ViaService": ["ecs", "s3.r.amazonaws.com"]}}, True, id="one of several"
        ),
        pytest.param(
            {"StringEquals": {"kms:ViaService": "s3.r.amazonaws.com", "ecs:cluster": "d"}},
            False,
            id="one of two keys",
        ),
        pytest.param(
            {
                "StringEquals": {"kms:ViaService": "s3.r.amazonaws.com"},
                "ArnEquals": {"ecs:cluster": "arn:aws:ecs:r:1:cluster/d"},
            },
            False,
            id="one of two operators",
        ),
        pytest.param({"StringLike": {"s3:prefix": "*"}}, False, id="a key that is not there"),
        pytest.param({"StringLikeIfExists": {"s3:prefix": "models/*"}}, True, id="which need not be"),
        pytest.param({"StringEqualsIfExists": {"kms:ViaService": "ecs"}}, False, id="but is there"),
        pytest.param({"ArnEquals": {"ecs:cluster": "arn:aws:ecs:r:1:cluster/*"}}, True, id="an arn like"),
        pytest.param({"ArnLike": {"ecs:cluster": "arn:aws:ecs:*:cluster/c"}}, False, id="arns part by part"),
        pytest.param({"ArnLike": {"ecs:cluster": "arn:aws:*:*:*:*"}}, True, id="every part any"),
        pytest.param({"ArnLike": {"kms:ViaService": "*"}}, False, id="no arn at all"),
    ],
)
def test_conditions_hold_all_at_once(condition: Any, is_met: bool) -> None:
    assert holds(condition, CONTEXT) is is_met


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "is_met"),
    [
        pytest.param("Bool", "false", "false", True, id="false"),
        pytest.param("Bool", False, "false", True, id="JSON's false"),
        pytest.param("Bool", "false", "true", False, id="true"),
        pytest.param("NumericLessThan", 1.2, "1.1", True, id="less"),
        pytest.param("NumericLessThan", 1.2, "1.2", False, id="as much"),
        pytest.param("NumericLessThan", 1.2, "1.10", True, id="less as a number"),
    ],
)
def test_what_is_true_and_what_is_less(operator: str, wanted: Any, found: str, is_met: bool) -> None:
    assert holds({operator: {"key": wanted}}, {"key": found}) is is_met


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "s3:*", "NotResource": BUCKET},
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "NotPrincipal": {"AWS": "1"}},
        {"Effect": "allow", "Action": "s3:*", "Resource": "*"},
        allow(resource=f"{BUCKET}/${{aws:username}}/*"),
        allow(Condition={"StringNotEquals": {"kms:ViaService": "s3"}}),
        allow(Condition={"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}),
        allow(Condition={"Null": {"s3:prefix": "true"}}),
        allow(Condition={"StringEquals": {"s3:prefix": "${aws:username}"}}),
        allow("s3:PutObject", Condition={"DateLessThan": {"aws:CurrentTime": "2030-01-01"}}),
    ],
    ids=lambda statement: "".join(sorted(statement.keys() - {"Effect"})),
)
def test_what_is_not_simulated_is_not_guessed(statement: Statement) -> None:
    with pytest.raises(Unsupported):
        decide([statement], READ)
