"""How each peer that trains does so: a small net on random batches, or the smallest body of ours; and what goes wrong in it.

Each training saves every `save_every` steps and goes on from what its folder holds. It notes every step in a file beside, so
that whoever kills it knows how far it had come. A fault is put into the real training: into its loss or a gradient.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reliability.peers import Lightning, Ours, Peer, State, Torch

STEPS = "steps-done"
FOREVER = 1 << 30


@dataclass
class Fault:
    """What goes wrong in some steps.

    Attributes:
        kind: "" = nothing, "gradient" = one number of one gradient is NaN, "loss" = the loss is NaN, "spike" = it is ten times
            as large.
        first: the first such step, 1, 2, …
        last: the last one.
        note: is called in each step.
    """

    kind: str = ""
    first: int = 1
    last: int = FOREVER
    note: Callable[[], None] = lambda: None
    step: int = 0

    def begin(self, folder: Path) -> bool:
        """Counts and notes a step; returns whether it is to go wrong."""
        self.step += 1
        descriptor = os.open(folder.with_name(STEPS), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b".")
        os.close(descriptor)
        self.note()
        return bool(self.kind) and self.first <= self.step <= self.last

    def into(self, loss: Tensor, weight: Tensor) -> Tensor:
        """Returns the loss of a step that goes wrong."""
        if self.kind == "gradient":

            def poison(gradient: Tensor) -> Tensor:
                handle.remove()
                poisoned = gradient.clone()
                poisoned.view(-1)[0] = float("nan")
                return poisoned

            handle = weight.register_hook(poison)
        return loss * {"loss": float("nan"), "spike": 10.0}.get(self.kind, 1.0)


def steps_done(folder: Path) -> int:
    path = folder.with_name(STEPS)
    return path.stat().st_size if path.exists() else 0


class Net(nn.Module):
    """441 weights, and the loss of a batch that is drawn from torch's own generator, as most trainings do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 10), nn.Linear(10, 1, bias=False))
        self.extra = nn.Parameter(torch.zeros(()))

    def loss(self) -> Tensor:
        x = torch.randn(16, 10)
        return (self.layers(x) + self.extra - x.sum(1, keepdim=True).sin()).square().mean()


class PlainLoop:
    """A loop with AdamW that saves by torch.save what PyTorch's tutorial saves: model, optimizer, step."""

    clip = 0.0

    def train(self, folder: Path, steps: int, save_every: int = 10, fault: Fault | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        fault, net, path = fault or Fault(), Net(), folder / "checkpoint.pt"
        optimizer, done = torch.optim.AdamW(net.parameters(), lr=1e-2), 0
        if path.exists():
            saved = torch.load(path)
            net.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            done = fault.step = saved["step"]
        for step in range(done + 1, steps + 1):
            optimizer.zero_grad()
            bad = fault.begin(folder)
            loss = net.loss()
            loss = fault.into(loss, net.layers[0].weight) if bad else loss
            loss.backward()
            if self.clip:
                nn.utils.clip_grad_norm_(net.parameters(), self.clip)
            optimizer.step()
            if step % save_every == 0:
                torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, path)

    def saved_step(self, folder: Path) -> int:
        path = folder / "checkpoint.pt"
        return int(torch.load(path)["step"]) if path.exists() else 0

    def weights(self, folder: Path) -> State:
        return torch.load(folder / "checkpoint.pt")["model"]


class ClippedLoop(PlainLoop):
    """The same with clip_grad_norm_."""

    clip = 1.0


class LightningRun:
    """Trainer.fit with ModelCheckpoint(save_last=True) and gradient_clip_val, resumed by ckpt_path."""

    def train(self, folder: Path, steps: int, save_every: int = 10, fault: Fault | None = None) -> None:
        from lightning.pytorch.callbacks import ModelCheckpoint

        from reliability.lightning_parts import learner, quiet_trainer

        torch.manual_seed(0)
        keep = ModelCheckpoint(dirpath=folder, every_n_train_steps=save_every, save_last=True)
        limits = {"max_steps": steps, "max_epochs": -1, "gradient_clip_val": 1.0}
        trainer = quiet_trainer(enable_checkpointing=True, callbacks=[keep], **limits)
        last = folder / "last.ckpt"
        fault = fault or Fault()
        fault.step = self.saved_step(folder)
        model = learner()(Net(), fault, folder)
        batches = torch.utils.data.DataLoader([0] * steps)
        trainer.fit(model, batches, ckpt_path=last if last.exists() else None, weights_only=False)

    def saved_step(self, folder: Path) -> int:
        path = folder / "last.ckpt"
        return int(torch.load(path, weights_only=False)["global_step"]) if path.exists() else 0

    def weights(self, folder: Path) -> State:
        return torch.load(folder / "last.ckpt", weights_only=False)["state_dict"]


class OurRun:
    """`nca3d train`: a ball of five cells across, the shell command and all."""

    def train(self, folder: Path, steps: int, save_every: int = 10, fault: Fault | None = None) -> None:
        from nca3d.cli import main

        self.register(folder, fault or Fault())
        config = self.config(steps, save_every)
        with tempfile.TemporaryDirectory() as beside:
            file = Path(beside) / "config.toml"
            config.save(file)
            goes_on = folder.exists() and self.saved_step(folder)
            words = ["--resume", str(folder), "--iterations", str(steps)] if goes_on else [str(file), "--out", str(folder)]
            raise SystemExit(main(["train", *words]))

    def config(self, steps: int, save_every: int) -> Any:
        import nca3d

        small = {"target": "sphere", "size": (5, 5, 5), "channels": 8, "hidden": (16,), "batch": 4, "pool_size": 8}
        fixed = {"precision": "fp32", "perception": "gradient", "steps": (2, 4), "seed_every": 1, "damage_from": 0.1}
        more = {"learning_rate": 0.006, "betas": (0.9, 0.95), "report": False, "log_every": 1, "iterations": steps}
        return nca3d.Config(**small, **fixed, **more, save_every=save_every, losses={"rgba": 1.0, "watched": 1.0})

    def register(self, folder: Path, fault: Fault) -> None:
        """Registers the loss term through which a fault comes in; it is nothing in all other steps."""
        from nca3d.losses import LOSSES
        from nca3d.losses.body import rgba

        @LOSSES.register("watched")
        def watched(moments: Tensor, target: Tensor, rule: nn.Module) -> Tensor:
            loss = rgba(moments, target, rule)
            # It is asked once more in each step, without gradient, which pooled state is the worst.
            if not loss.requires_grad or not fault.begin(folder):
                return loss * 0.0
            return fault.into(loss, next(rule.parameters())) * {"spike": 0.9}.get(fault.kind, 1.0)

    def saved_step(self, folder: Path) -> int:
        from nca3d import checkpoint

        try:
            return checkpoint.load(folder).step
        except ValueError:
            return 0

    def weights(self, folder: Path) -> State:
        from nca3d import checkpoint

        return checkpoint.load(folder).groups["rule"]


Training = PlainLoop | LightningRun | OurRun


def training_of(peer: Peer) -> Training | None:
    """Returns how a peer trains; None for a format of files."""
    kinds: dict[type[Peer], type[Training]] = {Torch: PlainLoop, Lightning: LightningRun, Ours: OurRun}
    # The first optimizer of a process imports for seconds: here, and not in each of its copies.
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    if isinstance(peer, Ours):
        import nca3d.cli
        import nca3d.training.loop  # noqa: F401
    return kinds[type(peer)]() if type(peer) in kinds else None
