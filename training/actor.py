"""The part of a trained policy that acts: observation in, mean action out, normalisation inside. What gets exported.

    action = clamp(head(trunk(clamp((clamp(x, low, high) - mean) / std, -CLIP, CLIP))), -1, 1)

Sampling, value function and distributions stay behind: they are of training only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from policies.manifest import FeatureLike

CLIP = 10.0  # standard deviations
LEAST_STD = 1e-6


class Actor(nn.Module):
    """The deterministic policy. Ranges and normaliser are buffers: they travel inside the ONNX file."""

    def __init__(
        self,
        trunk: nn.Module,
        head: nn.Module,
        features: Sequence[FeatureLike],
        *,
        mean: NDArray[Any] | None = None,
        std: NDArray[Any] | None = None,
    ) -> None:
        """mean, std: (F,) of the observations that trunk was trained on; None = it takes them as they are."""
        super().__init__()
        count = len(features)
        self.trunk, self.head = trunk, head
        self._hold("low", np.array([f.low for f in features]), count)
        self._hold("high", np.array([f.high for f in features]), count)
        self._hold("mean", np.zeros(count) if mean is None else mean, count)
        self._hold("std", np.ones(count) if std is None else np.maximum(std, LEAST_STD), count)

    def _hold(self, name: str, values: NDArray[Any], count: int) -> None:
        if np.shape(values) != (count,):
            raise ValueError(f"{name} has shape {np.shape(values)}, the observation has {count} features")
        self.register_buffer(name, torch.as_tensor(np.asarray(values, np.float32)))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """(N, F) float32 -> (N, A) in [-1, 1]."""
        held = torch.minimum(torch.maximum(observation, self.low), self.high)
        x = torch.clamp((held - self.mean) / self.std, -CLIP, CLIP)
        return torch.clamp(self.head(self.trunk(x)), -1.0, 1.0)


def actor_of(
    policy: Any,
    features: Sequence[FeatureLike],
    *,
    mean: NDArray[Any] | None = None,
    std: NDArray[Any] | None = None,
) -> Actor:
    """The actor of a Stable-Baselines3 ActorCriticPolicy with a flat observation and a Box action.

    Raises ValueError for policies with a features extractor of their own or with another distribution.
    """
    from stable_baselines3.common.distributions import DiagGaussianDistribution
    from stable_baselines3.common.torch_layers import FlattenExtractor

    if not isinstance(policy.features_extractor, FlattenExtractor):
        raise ValueError("the policy has a features extractor of its own; it cannot be exported")
    if not isinstance(policy.action_dist, DiagGaussianDistribution):
        raise ValueError(f"{type(policy.action_dist).__name__}: only a Box action with a Gaussian can be exported")
    return Actor(policy.mlp_extractor.policy_net, policy.action_net, features, mean=mean, std=std)
