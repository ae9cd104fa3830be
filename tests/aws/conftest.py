"""What is deployed, synthesized once: a process of Node's takes seconds to start."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.aws.templates import World
from tests.support.programs import needed


@pytest.fixture(scope="session")
def node() -> str:
    """The program: CDK runs in it, and what is written for CloudFront does."""
    return needed("node")


@pytest.fixture(scope="session")
def worlds(node: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, World]:
    """By the profile's name."""
    del node  # CDK finds it by itself
    from tests.aws.worlds import WORLDS, synthesize

    return {name: synthesize(given, tmp_path_factory.mktemp(name)) for name, given in WORLDS.items()}


@pytest.fixture(scope="session")
def small_with_mongodb_elsewhere(
    worlds: Mapping[str, World], tmp_path_factory: pytest.TempPathFactory
) -> World:
    """The same MongoDB as that of the standard size."""
    from tests.aws.worlds import synthesize

    secret = worlds["standard"].deployment.mongo_uri_secret
    assert secret is not None
    return synthesize({"mongo_uri_secret": secret}, tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(params=("small", "standard", "gpu"))
def world(request: pytest.FixtureRequest, worlds: Mapping[str, World]) -> World:
    """Each of them."""
    return worlds[request.param]
