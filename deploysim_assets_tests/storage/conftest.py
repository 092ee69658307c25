"""What tests of storage share."""

from collections.abc import Generator

import pytest


@pytest.fixture(autouse=True)
def _well(request: pytest.FixtureRequest) -> Generator[None]:
    """A server that was told to misbehave is well again for the next test."""
    yield
    if "s3" in request.fixturenames:
        request.getfixturevalue("s3").fault = lambda _method, _path: None
