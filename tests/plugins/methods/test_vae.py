"""The variational autoencoder's formulas in float64, against torch's own distributions."""

from __future__ import annotations

import pytest
import torch
from stepladder.core.model.vectors import Shape
from stepladder.plugins.methods.vae import Coder, Vae, divergence, draw, negative_bound, negative_log_density
from torch.distributions import Normal, kl_divergence


@pytest.fixture
def codes():
    torch.manual_seed(0)
    return torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)


def test_the_divergence_is_that_from_the_standard_normal(codes):
    means, log_variances = codes
    expected = kl_divergence(Normal(means, (log_variances / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(codes), expected, rtol=1e-12, atol=1e-12)


def test_the_density_is_that_of_gaussians(codes):
    values, means = codes
    deviation = torch.tensor([0.3], dtype=torch.float64)
    expected = -Normal(means, deviation).log_prob(values).sum(1)
    torch.testing.assert_close(
        negative_log_density(values, means, deviation.log()), expected, rtol=1e-12, atol=0
    )


def test_gradients_reach_means_and_variances_through_a_draw(codes):
    means, log_variances = (each.clone().requires_grad_() for each in codes)
    noise = torch.randn(5, 3, dtype=torch.float64)
    draw((means, log_variances), noise).sum().backward()
    torch.testing.assert_close(means.grad, torch.ones_like(means))
    torch.testing.assert_close(log_variances.grad, noise * (log_variances / 2).exp() / 2)


def linear(numbers: int, codes: int) -> Coder:
    """A decoder that gives codes back as numbers, and an encoder that knows nothing."""
    coder = Coder(Shape(numbers, 1, 0, 1), codes, hidden=4).double()
    coder.encoder = torch.nn.Linear(numbers + 1, 2 * codes, dtype=torch.float64)
    torch.nn.init.zeros_(coder.encoder.weight)
    torch.nn.init.zeros_(coder.encoder.bias)
    coder.decoder = torch.nn.Linear(codes + 1, numbers, bias=False, dtype=torch.float64)
    with torch.no_grad():
        coder.decoder.weight.copy_(torch.eye(numbers, codes + 1))
    return coder


def test_the_bound_lies_below_the_log_density_that_is_known_where_all_is_linear():
    coder = linear(numbers=2, codes=2)
    values = torch.tensor([[0.5, -0.5], [2.0, 1.0]], dtype=torch.float64).repeat_interleave(20_000, 0)
    noise = torch.randn(len(values), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.ones(len(values), 1, dtype=torch.float64)
    bounds = -negative_bound(coder, values, labels, noise, beta=1.0).view(2, -1).mean(1)
    deviation = coder.log_deviation.exp()
    exact = Normal(torch.zeros(2), (1 + deviation**2).sqrt()).log_prob(values.view(2, -1, 2)[:, 0]).sum(1)
    assert (bounds < exact).all()
    # The gap is the divergence of the encoder's codes from the true ones (eq. 1).
    variance = deviation**2 / (1 + deviation**2)
    true = Normal(values.view(2, -1, 2)[:, 0] / (1 + deviation**2), variance.sqrt())
    gap = kl_divergence(Normal(torch.zeros(2), torch.ones(2)), true).sum(1)
    torch.testing.assert_close(exact - bounds, gap, rtol=0.02, atol=0)


def test_beta_weighs_the_divergence_in_training_and_not_in_the_figure():
    shape = Shape(4, 2, 0, 1)
    values, labels = torch.rand(6, 4), torch.eye(2).repeat(3, 1)
    draws = [torch.Generator().manual_seed(place) for place in range(6)]
    figures, losses = [], []
    for beta in (0.0, 1.0, 3.0):
        method = Vae(Vae.Settings(beta=beta, hidden=8, codes=2))
        network = method.build(shape)
        losses.append(method.loss(network, values, labels, torch.Generator().manual_seed(0)).item())
        figures.append(
            method.bound(network, values, labels, [each.clone_state() for each in draws]).sum().item()
        )
    assert figures[0] == figures[1] == figures[2]
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-4)
    assert losses[1] > losses[0]
