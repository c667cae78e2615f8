"""The floor: operations that no implementation can do without, and the rate of the machine they are compared with."""

import torch

import nca3d
from nca3d.executors.floor import matrix_rate, quick_rate, reachable, useful_operations
from nca3d.rules.cell import Rule

CPU = torch.device("cpu")


def test_an_update_is_three_products_with_a_backward_pass_and_one_without():
    assert useful_operations(10_240, 1) == 3 * 2 * 10_240
    assert useful_operations(10_240, 5, 7) == (3 * 5 + 7) * 2 * 10_240


def test_rules_say_what_their_matrices_take():
    assert nca3d.ConvRule().multiply_adds() == 4 * 16 * 128 + 128 * 16 == 10_240
    assert nca3d.ConvRule(8, (16, 32), "isotropic").multiply_adds() == 16 * 16 + 16 * 32 + 32 * 8

    class Own(nca3d.ConvRule):
        def update(self, perception):
            return super().update(perception)

    assert Own().multiply_adds() is None, "what it computes is not known"
    assert Rule.multiply_adds(nca3d.ConvRule()) is None


def test_the_machine_is_measured_once_and_nothing_else_moves():
    quick_rate.cache_clear()
    draws, threads = torch.get_rng_state(), torch.get_num_threads()
    rate = quick_rate(CPU, torch.float32, 1)
    assert rate > 1e6 and quick_rate(CPU, torch.float32, 1) == rate and quick_rate.cache_info().hits == 1
    assert torch.equal(torch.get_rng_state(), draws) and torch.get_num_threads() == threads


def test_slow_arithmetic_is_measured_on_small_matrices(monkeypatch):
    monkeypatch.setattr("nca3d.executors.floor.QUICK", 0.0)
    monkeypatch.setattr("nca3d.executors.floor.best_seconds", lambda product, device, repeats: 0.5)
    assert quick_rate.__wrapped__(CPU, torch.bfloat16, 1) == 2 * 256**3 / 0.5


def test_fewer_bits_are_no_slower_than_float32():
    assert reachable(2e9, None) == 2e9 and reachable(2e9, 1e7) == 2e9 and reachable(2e9, 4e9) == 4e9


def test_the_rate_of_a_product_is_its_operations_over_its_seconds(monkeypatch):
    monkeypatch.setattr("nca3d.executors.floor.SIDE", 64)
    monkeypatch.setattr("nca3d.executors.floor.best_seconds", lambda product, device, repeats: 2.0)
    assert matrix_rate(CPU, torch.float32, 1) == 64**3
