"""What a training took, for the reports of all its kinds: speed, share of the floor, memory."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from nca3d.reports.page import Section
from nca3d.reports.values import as_text, display_name, is_number

# Figures of the log: those whose typical line counts, and those whose highest does.
TYPICAL = ("cells_per_second", "floor_share", "device_utilisation")
HIGHEST = ("peak_memory_mib", "peak_device_memory_mib")

# What a report's figures are, in the order in which the page has them.
WORDS = {
    "training_seconds": "seconds of training",
    "seconds_per_epoch": "seconds an epoch, logging and saving included",
    "cells_per_second": "cell updates a second: the whole lattice of each sample, once a step; median of the log's lines",
    "floor_share": "share of the floor: multiplications that can't be left out, over what this machine's matrix products "
    "reach in that time, 0 .. 1; median",
    "device_utilisation": "share of the time in which the device was at work, 0 .. 1; median",
    "peak_memory_mib": "memory of the process at most, MiB",
    "peak_device_memory_mib": "memory of tensors on the device at most, MiB",
    "skipped_iterations": "faulty iterations that were skipped",
    "retries": "times that it went back to an earlier checkpoint",
}


def cost_of(metrics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns what a training cost, by the records of its log; what wasn't logged is left out."""
    figures: dict[str, float] = {}
    for names, together in ((TYPICAL, statistics.median), (HIGHEST, max)):
        for name in names:
            if known := [record[name] for record in metrics if is_number(record.get(name))]:
                figures[name] = together(known)
    return figures


# What a run held in memory, and what really ran: the tables `memory` and `ran` of a report.
HELD = {
    "parameters_mib": "parameters",
    "gradients_mib": "their gradients",
    "optimizer_mib": "state of the optimizer",
    "average_mib": "their running average",
    "kept_mib": "kept for a backward pass, at most",
    "offloaded_mib": "kept in host memory instead",
    "pool_mib": "the pool",
}
RAN = ("executor", "precision", "optimizer", "compiled", "device_name", "threads", "pool_device")


def took(report: Mapping[str, Any]) -> Section:
    """Returns the part of a page on what the training took; without figures it isn't shown."""
    rows = {words: as_text(report[name]) for name, words in WORDS.items() if is_number(report.get(name))}
    held, ran = report.get("memory") or {}, report.get("ran") or {}
    rows |= {f"{words}, MiB": as_text(held[name]) for name, words in HELD.items() if held.get(name)}
    rows |= {f"what ran: {display_name(name)}": as_text(ran[name]) for name in RAN if name in ran}
    return Section("Training: what it took", "Speed and memory of this run, on the machine that it ran on.", rows=rows)
