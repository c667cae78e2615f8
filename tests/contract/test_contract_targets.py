"""Targets by name and from arrays: what `nca3d.targets.load` gives, and that the shell lists them."""

import numpy as np
import pytest
import torch
from contract_tools import frozen, main

import nca3d

TARGETS = frozen("targets")


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_shipped_body(name):
    target = nca3d.targets.load(name, size=(14, 20, 16))
    assert isinstance(target, nca3d.Target)
    assert (target.values.shape, target.values.dtype) == ((target.visible + 1, 14, 20, 16), torch.float32)
    assert target.occupied.dtype == torch.bool and tuple(target.size) == (14, 20, 16)
    found = {"kind": target.kind, "visible": target.visible, "cells": int(target.occupied.sum()), "names": list(target.names)}
    assert {**found, "sum": pytest.approx(float(target.values.double().sum()), rel=1e-4)} == TARGETS[name]


def test_options(tmp_path):
    small, large = (nca3d.targets.load("sphere", size=(13, 13, 13), margin=margin) for margin in (4, 1))
    assert small.occupied.sum() < large.occupied.sum()
    turned = nca3d.targets.load("letter", size=(9, 9, 9), text="L", orientation="yxz")
    assert turned.occupied.any()
    for wrong in ({"margn": 1}, {"orientation": "abc"}, {"margin": 9}):
        with pytest.raises(nca3d.InputError, match=r"found .*, allowed "):
            nca3d.targets.load("sphere", size=(9, 9, 9), **wrong)


def test_arrays_of_ones_own(tmp_path):
    colours = np.zeros((3, 4, 3, 4), np.float32)
    colours[1:, 1:3, 1:, :] = (1.0, 0.5, 0.0, 1.0)
    np.save(tmp_path / "own.npy", colours)
    target = nca3d.targets.load(tmp_path / "own.npy", size=(7, 8, 7))
    assert (target.kind, target.visible, int(target.occupied.sum())) == ("rgb", 3, 8)
    assert torch.equal(target.values[1], 0.5 * target.occupied.float())
    bytes_ = (colours * 255).astype(np.uint8)
    np.savez(tmp_path / "own.npz", bytes_)
    assert int(nca3d.targets.load(str(tmp_path / "own.npz"), size=(7, 8, 7)).occupied.sum()) == 8
    np.save(tmp_path / "labels.npy", np.arange(27).reshape(3, 3, 3) % 3)
    labels = nca3d.targets.load(tmp_path / "labels.npy", size=(5, 5, 5))
    assert labels.kind == "classes" and labels.names[0] == "empty" and int(labels.occupied.sum()) == 18


def test_the_shell_lists_them_and_says_what_they_become(capsys):
    assert main("targets") == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert set(TARGETS) <= listed
    assert main("targets", "cross", "jack", "--size", 15, 15, 15) == 0
    assert "15 × 15 × 15" in capsys.readouterr().out


def test_an_unknown_one_is_told_with_all_names():
    with pytest.raises(nca3d.InputError) as caught:
        nca3d.targets.load("froog", size=(9, 9, 9))
    assert all(name in str(caught.value) for name in TARGETS) and "did you mean 'frog'" in str(caught.value)
    assert ".npy" in str(caught.value) and ".glb" in str(caught.value) and ".nii.gz" in str(caught.value)
