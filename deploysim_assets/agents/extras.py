"""Packages that only projects with agents need: `pip install "deploysim[agents]"`."""

import importlib
from typing import Any

from deploysim_assets.project import ProjectError


def extra(name: str, needed_by: str) -> Any:
    """A module of the extra; ProjectError that says what to install where it is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as wrong:
        package = name.partition(".")[0]
        if wrong.name is None or wrong.name.partition(".")[0] != package:
            raise
        raise ProjectError(
            f"deploysim.yaml: {needed_by} needs the package {package}, which is not installed: "
            'pip install "deploysim[agents]"'
        ) from None
