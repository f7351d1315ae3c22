"""Solvers on a flow whose end is known: data normal around a mean, so the velocity is too."""

import numpy as np
import pytest
import torch

from nucleus_data.commands.sample import SOLVERS as OFFERED
from nucleus_model.network.flow import draw_noise
from nucleus_model.sampling.solver import SOLVERS, sigmas, solve

MEAN = 0.7


def normal(std):
    """Noise minus data as expected at x, for data of this mean and deviation."""

    def velocity(x, sigma):
        share = 1 - sigma
        away = (x - share * MEAN) / (share**2 * std**2 + sigma**2)
        return sigma * away - (MEAN + share * std**2 * away)

    return velocity


NARROW = normal(0.2)


def run(solver, steps, noise, v=NARROW):
    x, asked = noise, []
    for sigma, advance in solve(solver, steps):
        asked.append(sigma)
        x = advance(v(x, sigma), x)
    assert asked == sigmas(steps)[:-1]
    return x


@pytest.fixture(scope="module")
def noise():
    return draw_noise(0, "solver", (4, 4, 8, 8)).double()


def error(solver, steps, noise, std=0.2):
    """Distance from the true end, which is MEAN + std * noise."""
    found = run(solver, steps, noise, normal(std))
    return (found - MEAN - std * noise).square().mean().sqrt().item()


def test_sigmas_are_the_published_ones():
    assert sigmas(4) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert sigmas(50)[:-1] == np.linspace(1.0, 1 / 50, 50).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("unipc", 2)])
def test_error_falls_with_the_order_of_the_solver(solver, order, noise):
    coarse, fine = (error(solver, steps, noise) for steps in (80, 320))
    assert np.log(coarse / fine) / np.log(4) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize(("std", "steps"), [(0.2, 20), (0.6, 8)])
def test_few_steps_of_unipc_are_nearer_than_fifty_of_euler(std, steps, noise):
    published = error("euler", 50, noise, std)
    assert error("unipc", steps, noise, std) < published / 2
    assert error("euler", steps, noise, std) > 2 * published


def test_euler_is_the_published_scheduler(diffusers, noise):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False)
    scheduler.set_timesteps(sigmas=sigmas(7)[:-1])
    x = noise
    for time in scheduler.timesteps:
        x = scheduler.step(NARROW(x, time.item() / 1000), time, x, return_dict=False)[0]
    assert (run("euler", 7, noise) - x).abs().max() < 1e-5


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_with_one_image_to_go_to_every_run_ends_there(solver, steps, noise):
    data = draw_noise(1, "data", (4, 4, 8, 8)).double()
    found = run(solver, steps, noise, lambda x, sigma: (x - data) / sigma)
    assert (found - data).abs().max() < 1e-4


@pytest.mark.parametrize("solver", SOLVERS)
def test_runs_do_not_know_of_each_other(solver, noise):
    alone = run(solver, 6, noise)
    other = solve(solver, 6)
    next(other)
    assert torch.equal(run(solver, 6, noise), alone)
    assert (run(solver, 6, noise[:2]) - alone[:2]).abs().max() < 1e-6


def test_the_command_offers_them_all():
    assert tuple(SOLVERS) == OFFERED
    with pytest.raises(ValueError, match="one of euler, unipc, got 'heun'"):
        next(iter(solve("heun", 5)))
