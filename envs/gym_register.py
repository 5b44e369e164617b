"""Names of the environments for `gymnasium.make`; what they are made of is imported when one is made.

Gymnasium 1.x does not look for plug-ins by itself (0.x did, by the entry point that pyproject still declares), so say
where the names are:

    gymnasium.make("envs.gym_register:Trimtab/Autoscaling-v0")

or `import envs.gym_register` once, and then `gymnasium.make("Trimtab/Autoscaling-v0")`.
"""

from __future__ import annotations

from gymnasium.envs.registration import register as add
from gymnasium.envs.registration import registry

ENVIRONMENTS = ("Autoscaling", "NodePools", "Cluster")


def register() -> None:
    """Twice does no harm."""
    for name in ENVIRONMENTS:
        if f"Trimtab/{name}-v0" not in registry:
            vector = "envs.vec_env:AutoscalingVectorEnv" if name == "Autoscaling" else None
            add(f"Trimtab/{name}-v0", entry_point=f"envs.cluster_env:{name}Env", vector_entry_point=vector)


register()
