"""One function over many shards, in order and with few of them in memory: by processes of this
machine, or by the actors of a Ray cluster. What comes out depends on neither."""

from deploysim_assets.project import Compute
from deploysim_assets.shards.on_ray import on_ray
from deploysim_assets.shards.processes import processes
from deploysim_assets.shards.work import Engine, Make, ShardError, kind_and_place

__all__ = ["Engine", "Make", "ShardError", "engine", "kind_and_place", "on_ray", "processes"]


def engine(compute: Compute) -> Engine:
    """The engine that deploysim.yaml names."""
    return on_ray(compute) if compute.engine == "ray" else processes(compute.workers)
