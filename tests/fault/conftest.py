"""One platform with links for the tests that heal what they cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelrocket import Deployment
from tests.support.graphs import marked
from tests.support.site import Site, running_site


@pytest.fixture(scope="session")
def whole_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    try:
        yield whole_site
    finally:
        whole_site.heal()


@pytest.fixture(scope="session")
def deployment(whole_site: Site) -> Deployment:
    """A model that answers `[[5, x]]`."""
    with whole_site.client() as client:
        return client.upload(marked(5), "faults", progress=False)
