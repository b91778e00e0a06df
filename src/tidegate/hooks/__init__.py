"""Airflow hooks: from a connection to a system. One class works with every connection; a subclass a system registers its type."""

from tidegate.hooks.base import TidegateHook

__all__ = ["TidegateHook"]
