"""What of Lightning's the rows need: a module that holds any state, and a trainer that prints nothing."""

import functools
import logging
import warnings
from typing import Any

import torch

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


@functools.cache
def holder() -> type:
    """Returns the class of a module that holds a state; of whatever shapes, when it is loaded."""
    from lightning.pytorch import LightningModule

    class Holder(LightningModule):
        def __init__(self, state: dict[str, torch.Tensor] | None = None) -> None:
            super().__init__()
            for name, tensor in (state or {}).items():
                self.register_buffer(name, tensor)

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            for name, tensor in checkpoint["state_dict"].items():
                self.register_buffer(name, torch.zeros_like(tensor))

        def configure_optimizers(self) -> list[Any]:
            return []

    return Holder


def quiet_trainer(**options: Any) -> Any:
    """Returns a Trainer on the CPU without bars and logs."""
    from lightning.pytorch import Trainer

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(accelerator="cpu", devices=1, **{"enable_checkpointing": False, **quiet, **options})


@functools.cache
def learner() -> type:
    """Returns the class of a module that learns with AdamW from batches that it draws itself."""
    from lightning.pytorch import LightningModule

    class Learner(LightningModule):
        def __init__(self, net: torch.nn.Module, fault: Any, folder: Any) -> None:
            super().__init__()
            self.net, self.fault, self.folder = net, fault, folder

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            bad = self.fault.begin(self.folder)
            loss = self.net.loss()
            return self.fault.into(loss, self.net.layers[0].weight) if bad else loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    return Learner


@functools.cache
def linear() -> type:
    """Returns the class of a module with the weights of one linear layer."""
    from lightning.pytorch import LightningModule

    class Linear(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(3, 4))
            self.bias = torch.nn.Parameter(torch.zeros(3))

    return Linear
