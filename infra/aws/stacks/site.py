"""One address for everything: the web UI's files from a bucket, and the API beside them, through CloudFront.

What CloudFront shows for an error it shows for the API's errors too, so it is told nothing about errors: what
is a page's path becomes `/index.html` before the bucket is asked (`pages.js`).

CloudFront shows the API a key, so that its callers' addresses are believed (`chalicelib.edge`). The template
refers to the secret; who may read the distribution's settings in the account sees the key itself. It opens
nothing: with it, one could ask the API's own address and say to come from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from aws_cdk import CfnElement, CfnOutput, Duration, RemovalPolicy, SecretValue, Stack
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as deployment
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from chalicelib.edge import HEADER
from infra.aws.acknowledged import acknowledge
from infra.aws.deployment import Domain
from infra.aws.names import NAME
from infra.siteheaders import HASHED, OVER_HTTPS, SECURITY, cache_control

API: Final = ("v1", "v2", "inference", "healthz")
"""What the paths of the API begin with."""
URL_SECRET: Final = "ModelRocket/Url"
"""Where a name that CloudFront has given is told to those that it stands in front of, which were there
before it. No secret, but it is read like one: with no way to AWS's services but for those that exist."""
_FUNCTION: Final = Path(__file__).with_name("pages.js")
_ASSETS: Final = f"{HASHED.strip('/')}/*"
_PAGES: Final = "*.html"
_PUBLISHING: Final = "Custom::CDKBucketDeployment"


@dataclass(frozen=True, slots=True)
class ApiOrigin:
    """Where the API is: a host that answers https, and what its paths begin with there, such as /api.

    `key`: the secret that is shown to it.
    """

    host: str
    path: str
    key: secretsmanager.ISecret


class Site(Stack):
    """Attributes:
    url: where people and programs find all of it.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        api: ApiOrigin,
        files: Path,
        domain: Domain | None,
        **kwargs: Any,
    ) -> None:
        """`files`: the folder with the built web UI. `domain`: None for a name that CloudFront gives."""
        super().__init__(scope, id_, **kwargs)
        bucket = self._bucket()
        distribution = self._distribution(api, bucket, domain)
        self._publish(bucket, files)
        self.url = f"https://{domain.name if domain else distribution.distribution_domain_name}"
        if domain is None:
            self._tell(self.url)
        CfnOutput(self, "Url", value=self.url, description="Where the site and the API are")
        if domain:
            CfnOutput(
                self,
                "DomainTarget",
                value=distribution.distribution_domain_name,
                description=f"What {domain.name} has to be a CNAME or an alias of",
            )

    def _tell(self, url: str) -> None:
        told = secretsmanager.Secret(
            self,
            "ToldUrl",
            secret_name=URL_SECRET,
            description="Where people and programs find the platform",
            secret_string_value=SecretValue.unsafe_plain_text(url),
        )
        acknowledge(told, {"SMG4": "Everybody knows it."})

    def _bucket(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Files",
            encryption=s3.BucketEncryption.S3_MANAGED,  # everybody may read them
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(bucket, {"S1": "Only CloudFront reads it, and it holds what everybody may read."})
        return bucket

    def _distribution(
        self, api: ApiOrigin, bucket: s3.Bucket, domain: Domain | None
    ) -> cloudfront.Distribution:
        access = cloudfront.S3OriginAccessControl(
            self, "Access", origin_access_control_name=self._name_in_account()
        )
        files = _files(bucket, access, self._headers())
        to_api = _uncached(api)
        distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment="ModelRocket",
            default_root_object="index.html",
            default_behavior=cloudfront.BehaviorOptions(**files, function_associations=[self._pages()]),
            additional_behaviors={
                **{f"/{name}{below}": to_api for name in API for below in ("", "/*")},
                f"{HASHED}*": cloudfront.BehaviorOptions(**files),
            },
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            domain_names=[domain.name] if domain else None,
            certificate=self._certificate(domain) if domain else None,
        )
        acknowledge(distribution, _NOT_ASKED_OF_CLOUDFRONT)
        if domain is None:
            acknowledge(distribution, {"CFR4": "CloudFront's own name has its own certificate and settings."})
        return distribution

    def _certificate(self, domain: Domain) -> acm.ICertificate:
        return acm.Certificate.from_certificate_arn(self, "Certificate", domain.certificate)

    def _name_in_account(self) -> str:
        """CloudFront has no regions: a deployment in another one needs other names."""
        return f"{NAME}-{self.region}"

    def _pages(self) -> cloudfront.FunctionAssociation:
        pages = cloudfront.Function(
            self,
            "Pages",
            code=cloudfront.FunctionCode.from_file(file_path=str(_FUNCTION)),
            runtime=cloudfront.FunctionRuntime.JS_2_0,
            comment="Paths that only pages know",
        )
        return cloudfront.FunctionAssociation(
            function=pages, event_type=cloudfront.FunctionEventType.VIEWER_REQUEST
        )

    def _headers(self) -> cloudfront.ResponseHeadersPolicy:
        """Those that CloudFront knows by name it takes by name only."""
        custom = dict(SECURITY)
        security = _security(custom)
        return cloudfront.ResponseHeadersPolicy(
            self,
            "Headers",
            response_headers_policy_name=self._name_in_account(),
            comment="What pages may do",
            security_headers_behavior=security,
            custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
                custom_headers=[
                    cloudfront.ResponseCustomHeader(header=name, value=value, override=True)
                    for name, value in custom.items()
                ]
            ),
        )

    def _publish(self, bucket: s3.Bucket, files: Path) -> None:
        """Pages come last: they name the others. Old assets stay, for pages that are open in a browser."""
        source = deployment.Source.asset(str(files))
        log = logs.LogGroup(
            self,
            "PublishingLog",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )

        def publish(id_: str, *, like: str, exclude: list[str], include: list[str]) -> Construct:
            return deployment.BucketDeployment(
                self,
                id_,
                sources=[source],
                destination_bucket=bucket,
                exclude=exclude,
                include=include,
                cache_control=[deployment.CacheControl.from_string(cache_control(like))],
                prune=False,
                retain_on_delete=False,  # the bucket goes with the stack, and only an empty one can
                memory_limit=256,
                log_group=log,
            )

        assets = publish("Assets", like=f"{HASHED}any", exclude=["*"], include=[_ASSETS])
        others = publish("Others", like="/any.svg", exclude=[_ASSETS, _PAGES], include=[])
        pages = publish("IndexPage", like="/any.html", exclude=["*"], include=[_PAGES])
        pages.node.add_dependency(assets, others)
        publishing = next(child for child in self.node.children if child.node.id.startswith(_PUBLISHING))
        target = self.get_logical_id(cast(CfnElement, bucket.node.default_child))
        assets_bucket = f"arn:aws:s3:::cdk-hnb659fds-assets-<AWS::AccountId>-{self.region}"
        acknowledge(publishing, _of_publishing(assets_bucket, f"<{target}.Arn>"))


_NOT_ASKED_OF_CLOUDFRONT: Final = {
    "CFR1": "Where people may use it is for who deploys it to say, not for the code.",
    "CFR2": "The platform itself limits requests by account and key, and log-ins by address too, which "
    "CloudFront tells it; all others are for files.",
    "CFR3": "The API logs each request with its id; who reads the files says nothing.",
}
_PUBLISHING_ACTIONS: Final = ("GetBucket*", "GetObject*", "List*", "Abort*", "DeleteObject*")


def _of_publishing(*buckets: str) -> dict[str, str]:
    """`buckets`: those that files are copied from and to, as cdk-nag names them."""
    writes_log = "CDK's own function, which copies the files when they are deployed: it may write its log."
    copies = "It copies every file of one bucket of assets to one other bucket, whatever they are named."
    policy = "Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    return {
        f"IAM4[{policy}]": writes_log,
        **{f"IAM5[Action::s3:{action}]": copies for action in _PUBLISHING_ACTIONS},
        **{f"IAM5[Resource::{bucket}/*]": copies for bucket in buckets},
        "L1": "CDK chooses the runtime of its function, and changes it with its version.",
    }


def _security(headers: dict[str, str]) -> cloudfront.ResponseSecurityHeadersBehavior:
    """Takes what it stands for out of `headers`."""
    del headers["X-Content-Type-Options"]  # there is but one value
    referrer = headers.pop("Referrer-Policy").replace("-", "_").upper()
    age, *flags = OVER_HTTPS["Strict-Transport-Security"].split("; ")
    return cloudfront.ResponseSecurityHeadersBehavior(
        content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
            content_security_policy=headers.pop("Content-Security-Policy"), override=True
        ),
        content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
        referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
            referrer_policy=cloudfront.HeadersReferrerPolicy[referrer], override=True
        ),
        strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
            access_control_max_age=Duration.seconds(int(age.removeprefix("max-age="))),
            include_subdomains="includeSubDomains" in flags,
            override=True,
        ),
    )


def _files(
    bucket: s3.Bucket, access: cloudfront.S3OriginAccessControl, headers: cloudfront.ResponseHeadersPolicy
) -> dict[str, Any]:
    """Without the right to list the bucket, what is missing would be a 403."""
    return {
        "origin": origins.S3BucketOrigin.with_origin_access_control(
            bucket,
            origin_access_control=access,
            origin_access_levels=[cloudfront.AccessLevel.READ, cloudfront.AccessLevel.LIST],
        ),
        "viewer_protocol_policy": cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
        "cache_policy": cloudfront.CachePolicy.CACHING_OPTIMIZED,
        "response_headers_policy": headers,
    }


def _uncached(api: ApiOrigin) -> cloudfront.BehaviorOptions:
    """All of a request but its Host, by which the API's gateway finds what is asked."""
    return cloudfront.BehaviorOptions(
        origin=origins.HttpOrigin(
            api.host,
            origin_path=api.path,
            protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
            origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
            custom_headers={HEADER: api.key.secret_value.unsafe_unwrap()},
        ),
        viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
        allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
        cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
        origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
    )
