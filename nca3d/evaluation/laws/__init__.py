"""The laws of a cell, checked on any torch module: `checks.py` has the laws, `subject.py` what they see of a module."""

from nca3d.evaluation.laws.checks import LAWS, Status, Verdict, check_laws

__all__ = ["LAWS", "Status", "Verdict", "check_laws"]
