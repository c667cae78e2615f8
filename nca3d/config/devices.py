"""What to know of devices that a config may not name."""


def device_hint(value: object) -> str:
    """Returns what is missing on a device that can't be computed on, or how to choose one of several; "" for anything else."""
    name, _, number = str(value).lower().partition(":")
    if name == "mps":
        return "; Apple's mps has no float64, in which damage and measures are computed"
    if name == "cuda" and number:
        return f"; CUDA_VISIBLE_DEVICES={number} before the command chooses one of several"
    return ""
