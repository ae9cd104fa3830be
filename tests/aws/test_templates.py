"""What the templates promise: of what is kept, who reaches it and how."""

from __future__ import annotations

import json
import string
import subprocess
import sys
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract import limits, transfers
from chalicelib.uploads import MODELS, STAGING
from infra.aws.permissions import OF_CLUSTER, OF_NETWORK
from infra.redisroles import RIGHTS
from tests.aws.templates import DOMAIN, World, statements, text

ROOT = Path(__file__).resolve().parents[2]
DAY = 24 * 3600
NAMELESS = frozenset({*OF_CLUSTER, *OF_NETWORK, "ecr:GetAuthorizationToken", "ecs:DiscoverPollEndpoint"})
"""Actions on what has no name yet when they are allowed."""
_WITHOUT_REGION = ("AWS::Budgets::", "AWS::CloudFront::", "AWS::CloudWatch::Dashboard", "AWS::IAM::")
_NAMES = ("Name", "BudgetName", "DashboardName", "InstanceProfileName", "ManagedPolicyName", "RoleName")


# Everything


def test_another_size_can_be_chosen_later(
    worlds: Mapping[str, World], small_with_mongodb_elsewhere: World
) -> None:
    """CloudFormation keeps what another stack refers to: whoever exports it is updated first. And what is new
    in the network is made before what is old there goes."""
    pairs = ((worlds["small"], worlds["gpu"]), (small_with_mongodb_elsewhere, worlds["standard"]))
    for one, other in pairs:
        for before, after in ((one, other), (other, one)):
            stays = exports(after)
            lost = {name for name, value in exports(before).items() if stays.get(name) != value}
            assert lost & imports(before.templates) == set()
            old, new = subnets(before), subnets(after)
            assert {name: old[name] for name in old.keys() & new} == {
                name: new[name] for name in old.keys() & new
            }
            assert not any(new[name].overlaps(other) for name in new.keys() - old for other in old.values())


def subnets(world: World) -> dict[str, IPv4Network]:
    found = world.of("AWS::EC2::Subnet").items()
    return {name: IPv4Network(subnet["Properties"]["CidrBlock"]) for name, subnet in found}


def exports(world: World) -> dict[str, Any]:
    outputs = [one for template in world.templates.values() for one in template.get("Outputs", {}).values()]
    return {one["Export"]["Name"]: one["Value"] for one in outputs if "Export" in one}


def imports(part: Any) -> set[str]:
    """The names of all that is imported somewhere in it."""
    if isinstance(part, Mapping):
        own = {part["Fn::ImportValue"]} if "Fn::ImportValue" in part else set()
        return own.union(*map(imports, part.values()))
    return set().union(*map(imports, part)) if isinstance(part, list) else set()


def test_cfn_lint_has_nothing_to_say(worlds: Mapping[str, World]) -> None:
    paths = [path for world in worlds.values() for path in world.folder.glob("*.template.json")]
    different = {path.read_bytes(): str(path) for path in paths}
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), *different.values()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (len(paths), done.returncode, done.stdout) == (24, 0, "")


@pytest.mark.usefixtures("node")
def test_what_cdk_nag_finds_and_nobody_has_explained_is_not_synthesized(tmp_path: Path) -> None:
    from aws_cdk import Stack
    from aws_cdk import aws_s3 as s3

    from infra.aws.app import new_app

    app = new_app(str(tmp_path))
    s3.Bucket(Stack(app, "Careless"), "Open")
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()
    assert "AwsSolutions-S10" in (tmp_path / "validation-report.json").read_text()


def test_another_region_of_the_account_has_room_for_another_deployment(world: World) -> None:
    """What has a name where there are no regions says in it which one it is for."""
    of_account = [
        name
        for template in world.templates.values()
        for resource in template["Resources"].values()
        if resource["Type"].startswith(_WITHOUT_REGION)
        for name in _names(resource.get("Properties"))
    ]
    assert [name for name in of_account if world.deployment.region not in name] == []
    assert len(of_account) >= 4  # of which CloudFront has three, and CloudWatch a dashboard


def test_no_role_may_do_anything_to_everything(world: World) -> None:
    """But what is done to nothing that has a name. A star after a name is cdk-nag's to ask about."""
    anything = [one for one in statements(world) if "*" in _listed(one["Resource"])]
    bare = {action for one in anything for action in _listed(one["Action"])} - NAMELESS
    actions = {action for one in statements(world) for action in _listed(one["Action"])}
    assert (bare, {action for action in actions if action.endswith(":*")}) == (set(), set())
    assert actions


def test_no_template_holds_a_secret(world: World) -> None:
    for name, secret in world.of("AWS::SecretsManager::Secret").items():
        properties = secret["Properties"]
        known = text(properties.get("SecretString", ""))
        assert ("GenerateSecretString" in properties) is (known == ""), name
        public = name[:-8] == "ToldUrl"
        assert public or known == "" or ":{{resolve:secretsmanager:<" in known, name
    assert "mongodb" not in json.dumps(world.templates["Storage"])


# What is kept


def test_every_bucket_is_private_and_takes_only_tls(world: World) -> None:
    buckets = world.of("AWS::S3::Bucket")
    policies = {
        one["Properties"]["Bucket"]["Ref"]: one["Properties"]["PolicyDocument"]["Statement"]
        for one in world.of("AWS::S3::BucketPolicy").values()
    }
    assert len(buckets) == 3
    for name, bucket in buckets.items():
        properties = bucket["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}], name
        assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"], name
        refused = [one["Condition"] for one in policies[name] if one["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in refused, name
        assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in refused, name
        allowed = [one["Principal"] for one in policies[name] if one["Effect"] == "Allow"]
        assert all(set(principal) == {"Service"} for principal in allowed), name


def test_models_outlive_the_stack_and_a_mistake(world: World) -> None:
    for kept in (world.named("AWS::S3::Bucket", "Models"), world.named("AWS::KMS::Key", "Key")):
        assert (kept["DeletionPolicy"], kept["UpdateReplacePolicy"]) == ("Retain", "Retain")
    models = world.named("AWS::S3::Bucket", "Models")["Properties"]
    (encryption,) = models["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert models["VersioningConfiguration"] == {"Status": "Enabled"}
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert models["LoggingConfiguration"]["DestinationBucketName"]["Ref"].startswith("AccessLogs")
    assert {one["Properties"]["EnableKeyRotation"] for one in world.of("AWS::KMS::Key").values()} == {True}


def test_the_store_removes_by_itself_what_nobody_will_ask_for_and_no_model(world: World) -> None:
    rules = world.named("AWS::S3::Bucket", "Models")["Properties"]["LifecycleConfiguration"]["Rules"]
    days = {rule.get("Prefix", ""): rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    assert set(days) == {STAGING, transfers.PREFIX}
    assert days[STAGING] * DAY > limits.UPLOAD_ABANDONED_SECONDS
    assert days[transfers.PREFIX] * DAY == limits.PAYLOAD_SECONDS
    assert not any(MODELS.startswith(prefix) for prefix in days)
    (everywhere,) = [rule for rule in rules if "Prefix" not in rule]
    abandoned = everywhere["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
    assert abandoned * DAY > limits.UPLOAD_ABANDONED_SECONDS
    assert everywhere["NoncurrentVersionExpiration"]["NoncurrentDays"] * DAY > limits.RETENTION_SECONDS


def test_only_pages_of_the_site_may_use_their_grants(worlds: Mapping[str, World]) -> None:
    found = {
        name: world.named("AWS::S3::Bucket", "Models")["Properties"].get("CorsConfiguration")
        for name, world in worlds.items()
    }
    (rule,) = found.pop("standard")["CorsRules"]
    assert (rule["AllowedOrigins"], rule["AllowedMethods"]) == ([f"https://{DOMAIN}"], ["PUT"])
    assert set(found.values()) == {None}


def test_the_dispatch_key_is_one_as_hosts_take_it(world: World) -> None:
    made = world.named("AWS::SecretsManager::Secret", "DispatchKey")["Properties"]["GenerateSecretString"]
    assert made["ExcludeUppercase"] and made["ExcludePunctuation"] and not made["RequireEachIncludedType"]
    alphabet = set(string.ascii_lowercase + string.digits) - set(made["ExcludeCharacters"])
    assert (alphabet, made["PasswordLength"]) == (set("0123456789abcdef"), 64)


# The network


def test_there_is_one_way_out_and_only_where_something_needs_it(worlds: Mapping[str, World]) -> None:
    ways = {
        name: (len(world.of("AWS::EC2::Instance")), len(world.of("AWS::EC2::NatGateway")))
        for name, world in worlds.items()
    }
    assert ways == {"small": (1, 0), "standard": (0, 1), "gpu": (0, 0)}
    nat = worlds["small"].one("AWS::EC2::Instance")
    assert nat["NetworkInterfaces"][0]["AssociatePublicIpAddress"] is True
    (hardened,) = [
        one["Properties"]["LaunchTemplateData"]
        for one in worlds["small"].templates["Network"]["Resources"].values()
        if one["Type"] == "AWS::EC2::LaunchTemplate"
    ]
    assert hardened == {"MetadataOptions": {"HttpTokens": "required"}}
    assert worlds["gpu"].of("AWS::EC2::InternetGateway") == {}


def test_the_way_out_tries_until_it_has_what_it_routes_with(
    worlds: Mapping[str, World], tmp_path: Path
) -> None:
    """dnf is killed where memory is short, and fails beside another dnf."""
    script = text(worlds["small"].one("AWS::EC2::Instance")["UserData"]["Fn::Base64"]).splitlines()
    (install,) = [line for line in script if "yum install" in line]
    assert script.index("swapon /swap") < script.index(install) < script.index("systemctl start iptables")
    tries = tmp_path / "tries"
    for name, does in (("yum", f"echo >> {tries}; test $(wc -l < {tries}) -eq 3"), ("sleep", "true")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    subprocess.run(["bash", "-c", install], env={"PATH": path}, check=True, timeout=30)
    assert len(tries.read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["standard", "gpu"])
def test_hosts_of_the_larger_sizes_have_no_way_out(worlds: Mapping[str, World], name: str) -> None:
    routes = worlds[name].of("AWS::EC2::Route").values()
    routed = {route["Properties"]["RouteTableId"]["Ref"] for route in routes}
    private = {table for table in worlds[name].of("AWS::EC2::RouteTable") if table.startswith("Vpcprivate")}
    assert len(private) == 2
    assert routed & private == set()


def test_functions_reach_a_mongodb_that_runs_elsewhere(worlds: Mapping[str, World]) -> None:
    tables = {table for table in worlds["standard"].of("AWS::EC2::RouteTable") if "functions" in table}
    routes = [route["Properties"] for route in worlds["standard"].of("AWS::EC2::Route").values()]
    assert len(tables) == 2
    assert tables <= {route["RouteTableId"]["Ref"] for route in routes if "NatGatewayId" in route}


def test_aws_is_reached_inside_the_network_where_that_is_worth_it(world: World) -> None:
    found = [one["Properties"] for one in world.of("AWS::EC2::VPCEndpoint").values()]
    gateways = [one for one in found if one["VpcEndpointType"] == "Gateway"]
    interfaces = [one for one in found if one["VpcEndpointType"] == "Interface"]
    (s3,) = gateways
    tables = {table for table in world.of("AWS::EC2::RouteTable") if not table.startswith("Vpcwayout")}
    assert text(s3["ServiceName"]).endswith(".s3")
    assert tables <= {table["Ref"] for table in s3["RouteTableIds"]}
    services = {text(one["ServiceName"]).removeprefix("com.amazonaws.us-east-1.") for one in interfaces}
    assert services == set(world.deployment.profile.endpoints)
    assert all(one["PrivateDnsEnabled"] for one in interfaces)


def test_nothing_is_reached_from_outside(world: World) -> None:
    subnets = world.of("AWS::EC2::Subnet").values()
    assert not any(subnet["Properties"]["MapPublicIpOnLaunch"] for subnet in subnets)
    inline = [
        rule
        for group in world.of("AWS::EC2::SecurityGroup").values()
        for rule in group["Properties"].get("SecurityGroupIngress", ())
    ]
    apart = [rule["Properties"] for rule in world.of("AWS::EC2::SecurityGroupIngress").values()]
    assert {rule.get("CidrIp") for rule in inline} <= {"10.60.0.0/16"}
    assert all("SourceSecurityGroupId" in rule for rule in apart)


# The stores that answer


def test_redis_is_encrypted_and_nobody_gets_in_without_a_role(world: World) -> None:
    redis = world.one("AWS::ElastiCache::ReplicationGroup")
    assert redis["TransitEncryptionEnabled"] is True
    assert redis["TransitEncryptionMode"] == "required"
    assert redis["AtRestEncryptionEnabled"] is True
    assert "KmsKeyId" in redis
    users = [user["Properties"] for user in world.of("AWS::ElastiCache::User").values()]
    assert {user["UserName"] for user in users if user["AccessString"].startswith("on ")} == set(RIGHTS)
    assert {user["UserName"] for user in users if user["AccessString"] == "off -@all"} == {"default"}
    assert all(user["AuthenticationMode"]["Type"] == "password" for user in users)
    assert len(world.one("AWS::ElastiCache::UserGroup")["UserIds"]) == len(users) == len(RIGHTS) + 1
    assert redis["UserGroupIds"] == [{"Ref": next(iter(world.of("AWS::ElastiCache::UserGroup")))}]
    assert world.one("AWS::ElastiCache::ParameterGroup")["Properties"] == {"maxmemory-policy": "noeviction"}


def test_roles_may_do_there_what_they_may_do_here(worlds: Mapping[str, World], raw_redis: Any) -> None:
    """Valkey itself compares what the template's rules mean with what the local stack's users may."""
    try:
        for user in worlds["small"].of("AWS::ElastiCache::User").values():
            name, rules = user["Properties"]["UserName"], user["Properties"]["AccessString"]
            raw_redis.execute_command("ACL", "SETUSER", "deployed", "reset", *rules.split())
            there, here = raw_redis.acl_getuser("deployed"), raw_redis.acl_getuser(name)
            may = ("commands", "keys", "channels", "selectors", "enabled")
            assert {what: there.get(what) for what in may} == {what: here.get(what) for what in may}, name
    finally:
        raw_redis.acl_deluser("deployed")


@pytest.mark.parametrize(("name", "nodes"), [("small", 1), ("standard", 2), ("gpu", 2)])
def test_larger_sizes_survive_a_zone(worlds: Mapping[str, World], name: str, nodes: int) -> None:
    redis = worlds[name].one("AWS::ElastiCache::ReplicationGroup")
    assert redis["NumCacheClusters"] == nodes
    assert redis["AutomaticFailoverEnabled"] is redis["MultiAZEnabled"] is (nodes > 1)
    assert len(worlds[name].of("AWS::DocDB::DBInstance")) == (0 if name == "standard" else nodes)


def test_only_their_clients_reach_the_stores(world: World) -> None:
    reached = {
        (
            text(rule["Properties"]["GroupId"]).split("Group")[0].strip("<"),
            rule["Properties"]["FromPort"],
            rule["Properties"]["ToPort"],
            text(rule["Properties"]["SourceSecurityGroupId"]).split("Clients")[0].strip("<"),
        )
        for rule in world.templates["Data"]["Resources"].values()
        if rule["Type"] == "AWS::EC2::SecurityGroupIngress"
    }
    redis, mongo = ("Redis", 6379, 6379, "Redis"), ("Mongo", 27017, 27017, "Mongo")
    assert reached == ({redis} if world.deployment.mongo_uri_secret else {redis, mongo})


@pytest.mark.parametrize("name", ["small", "gpu"])
def test_documentdb_is_encrypted_and_backed_up(worlds: Mapping[str, World], name: str) -> None:
    (cluster,) = worlds[name].of("AWS::DocDB::DBCluster").values()
    assert cluster["DeletionPolicy"] == "Snapshot"
    assert cluster["Properties"]["StorageEncrypted"] is True
    assert cluster["Properties"]["BackupRetentionPeriod"] >= 7
    assert worlds[name].one("AWS::DocDB::DBClusterParameterGroup")["Parameters"]["tls"] == "enabled"


def test_who_holds_a_url_speaks_tls(world: World) -> None:
    urls = {
        name[:-8]: text(secret["Properties"]["SecretString"])
        for name, secret in world.of("AWS::SecretsManager::Secret").items()
        if "SecretString" in secret["Properties"] and name[:-8] != "ToldUrl"
    }
    for role in RIGHTS:
        assert urls.pop(f"RedisUrl{role}").startswith(f"rediss://{role}:{{{{resolve:"), role
    assert all(uri.startswith("mongodb://") and "tls=true" in uri for uri in urls.values())
    assert set(urls) == (set() if world.deployment.mongo_uri_secret else {"MongoUri"})


def _names(properties: Any) -> Iterator[str]:
    """At any depth."""
    if isinstance(properties, list):
        for one in properties:
            yield from _names(one)
    if isinstance(properties, dict):
        for key, value in properties.items():
            if key in _NAMES:
                yield text(value)
            yield from _names(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
