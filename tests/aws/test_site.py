"""What CloudFront promises: which requests are whose, and what comes with the files."""

from __future__ import annotations

import fnmatch
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib import edge
from chalicelib.settings import Settings
from infra.siteheaders import OVER_HTTPS, SECURITY, cache_control
from tests.aws.templates import DOMAIN, FILES, World, text
from tests.aws.test_control_plane import SECRETS, environment

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "infra" / "aws" / "stacks" / "pages.js"
PATHS = sorted(json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"])
UNCACHED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
"""CloudFront's managed policy CachingDisabled."""
ALL_BUT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
"""Its managed policy AllViewerExceptHostHeader."""


def distribution(world: World) -> Any:
    return world.one("AWS::CloudFront::Distribution")["DistributionConfig"]


def behavior(world: World, path: str) -> Any:
    """The one of a path: the first whose pattern matches it, as CloudFront goes through them."""
    configured = distribution(world)
    for one in configured["CacheBehaviors"]:
        if fnmatch.fnmatchcase(path, one["PathPattern"]):
            return one
    return configured["DefaultCacheBehavior"]


def origin(world: World, path: str) -> Any:
    wanted = behavior(world, path)["TargetOriginId"]
    (found,) = [one for one in distribution(world)["Origins"] if one["Id"] == wanted]
    return found


@pytest.mark.parametrize("path", [*PATHS, "/v1", "/v1/nothing", "/inference/x"])
def test_every_path_of_the_api_goes_to_it_as_it_came(worlds: Mapping[str, World], path: str) -> None:
    one, api = behavior(worlds["small"], path), origin(worlds["small"], path)
    host, _, address = text(api["DomainName"]).partition(".")
    assert host.startswith("<ModelRocket-ControlPlane:ExportsOutputRefApi")
    assert address == "execute-api.us-east-1.amazonaws.com"
    assert api["OriginPath"] == "/" + worlds["small"].one("AWS::ApiGateway::Stage")["StageName"]
    spoken = api["CustomOriginConfig"]
    assert (spoken["OriginProtocolPolicy"], spoken["OriginSSLProtocols"]) == ("https-only", ["TLSv1.2"])
    assert (one["CachePolicyId"], one["OriginRequestPolicyId"]) == (UNCACHED, ALL_BUT_HOST)
    assert set(one["AllowedMethods"]) == {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"}
    assert one["ViewerProtocolPolicy"] == "https-only"
    assert "FunctionAssociations" not in one


def test_the_api_is_shown_a_key_that_no_template_holds_and_nobody_else_is(world: World) -> None:
    """By a reference that is replaced when it is deployed: to the secret that the function reads too."""
    (shown,) = origin(world, "/v1/sessions")["OriginCustomHeaders"]
    assert shown["HeaderName"] == edge.HEADER
    reference = text(shown["HeaderValue"])
    told = environment(world, "Management")["MODELROCKET_EDGE_KEY"]
    assert reference == f"{{{{resolve:secretsmanager:{told}:SecretString:::}}}}"
    assert "EdgeKey" in told
    assert "OriginCustomHeaders" not in origin(world, "/")


def test_the_key_is_one_as_the_function_takes_it(world: World) -> None:
    made = world.named("AWS::SecretsManager::Secret", "EdgeKey")["Properties"]["GenerateSecretString"]
    assert made["ExcludePunctuation"] and not made.get("IncludeSpace")
    key = ("aA0" * made["PasswordLength"])[: made["PasswordLength"]]
    told = environment(world, "Management") | SECRETS | {"MODELROCKET_EDGE_KEY": key}
    assert Settings.from_env(told).edge_key == key


@pytest.mark.parametrize("path", ["/", "/index.html", "/models/5f0e", "/favicon.svg", "/assets/a.js", "/v1x"])
def test_everything_else_is_the_buckets(worlds: Mapping[str, World], path: str) -> None:
    assert text(origin(worlds["small"], path)["DomainName"]).startswith("<Files")
    assert behavior(worlds["small"], path)["ViewerProtocolPolicy"] == "redirect-to-https"


def test_an_error_of_the_api_reaches_its_caller(world: World) -> None:
    assert "CustomErrorResponses" not in distribution(world)


@pytest.mark.parametrize(
    ("path", "accept", "asked"),
    [
        ("/", "*/*", "/index.html"),
        ("/models", "text/html,application/xhtml+xml", "/index.html"),
        ("/models/5f0e/versions/3", "text/html", "/index.html"),
        ("/models/5f0e/", "text/html", "/index.html"),
        ("/favicon.svg", "text/html,image/*", "/favicon.svg"),
        ("/robots.txt", "*/*", "/robots.txt"),
        ("/models", "application/json", "/models"),
        ("/models", None, "/models"),
    ],
)
def test_a_pages_path_is_answered_with_the_page(node: str, path: str, accept: str | None, asked: str) -> None:
    headers = {} if accept is None else {"accept": {"value": accept}}
    event = {"request": {"method": "GET", "uri": path, "headers": headers}}
    script = f"{PAGES.read_text()}\nconsole.log(handler({json.dumps(event)}).uri);"
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == asked


def test_pages_are_found_by_that_function_and_files_without(worlds: Mapping[str, World]) -> None:
    code = worlds["small"].one("AWS::CloudFront::Function")["FunctionCode"]
    assert code == PAGES.read_text()
    (associated,) = behavior(worlds["small"], "/models")["FunctionAssociations"]
    assert associated["EventType"] == "viewer-request"
    assert "FunctionAssociations" not in behavior(worlds["small"], "/assets/index.js")


def test_files_say_to_browsers_what_the_local_stacks_say(worlds: Mapping[str, World]) -> None:
    config = worlds["small"].one("AWS::CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]
    security = config["SecurityHeadersConfig"]
    transport = security["StrictTransportSecurity"]
    flags = "; includeSubDomains" if transport["IncludeSubdomains"] else ""
    told = {one["Header"]: one["Value"] for one in config["CustomHeadersConfig"]["Items"]} | {
        "Content-Security-Policy": security["ContentSecurityPolicy"]["ContentSecurityPolicy"],
        "Referrer-Policy": security["ReferrerPolicy"]["ReferrerPolicy"],
        "X-Content-Type-Options": "nosniff" if security["ContentTypeOptions"] else "",
        "Strict-Transport-Security": f"max-age={transport['AccessControlMaxAgeSec']}{flags}",
    }
    assert told == {**SECURITY, **OVER_HTTPS}
    for path in ("/", "/assets/index.js"):
        assert "Ref" in behavior(worlds["small"], path)["ResponseHeadersPolicyId"]


@pytest.mark.parametrize("file", FILES)
def test_each_file_is_kept_by_browsers_as_long_as_the_local_stack_says(
    worlds: Mapping[str, World], file: str
) -> None:
    published = [one["Properties"] for one in worlds["small"].of("Custom::CDKBucketDeployment").values()]
    (told,) = [one["SystemMetadata"]["cache-control"] for one in published if _takes(one, file)]
    assert told == cache_control(f"/{file}")


def test_only_this_distribution_reads_the_bucket(world: World) -> None:
    policy = world.named("AWS::S3::BucketPolicy", "FilesPolicy")["Properties"]["PolicyDocument"]
    (allowed,) = [one for one in policy["Statement"] if one["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    assert text(allowed["Condition"]["StringEquals"]["AWS:SourceArn"]).endswith(
        f":distribution/<{next(iter(world.of('AWS::CloudFront::Distribution')))}>"
    )


def test_a_name_of_ones_own_is_served_with_tls_1_2(worlds: Mapping[str, World]) -> None:
    named, unnamed = distribution(worlds["standard"]), distribution(worlds["small"])
    assert named["Aliases"] == [DOMAIN]
    assert named["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert not {"Aliases", "ViewerCertificate"} & set(unnamed)


def _takes(published: Mapping[str, Any], file: str) -> bool:
    """As `aws s3 sync` decides: the last filter that matches, excludes before includes."""
    taken = True
    for pattern in published.get("Exclude", ()):
        taken = taken and not fnmatch.fnmatchcase(file, pattern)
    return taken or any(fnmatch.fnmatchcase(file, pattern) for pattern in published.get("Include", ()))
