"""What ends a run of requests, and the key that starts one."""

import os
from typing import ClassVar
from urllib.parse import urlsplit

from deploysim_assets.project import Endpoint, ProjectError


class EndpointError(ProjectError):
    """The endpoint cannot be used as configured, or has stopped answering. What was answered is
    journalled; a rerun goes on from it."""

    exit_code: ClassVar[int] = 69


def api_key(endpoint: Endpoint) -> str:
    """The key from the environment; an endpoint on this machine may do without. ProjectError
    names the variable, never a value."""
    name = endpoint.api_key_env
    if name and (value := os.environ.get(name)):
        return value
    if name and urlsplit(endpoint.base_url).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise EndpointError(
            f"deploysim.yaml: endpoint.api_key_env: the environment has no {name}; set it to the "
            f"key of {endpoint.base_url}"
        )
    return "none"
