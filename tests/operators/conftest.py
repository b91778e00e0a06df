"""Airflow reads its environment when it is imported: set it before any test module here is."""

from tests import airflow_home

__all__ = ["airflow_home"]
