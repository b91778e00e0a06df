"""Airflow operators: scheduling around the verbs and the run of a sync; they hold no semantics of their own."""

from tidegate.operators.doctor import TidegateDoctorOperator
from tidegate.operators.sync import TidegateSyncOperator
from tidegate.operators.write import TidegateDeleteOperator, TidegateUpsertOperator

__all__ = ["TidegateDeleteOperator", "TidegateDoctorOperator", "TidegateSyncOperator", "TidegateUpsertOperator"]
