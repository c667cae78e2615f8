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
