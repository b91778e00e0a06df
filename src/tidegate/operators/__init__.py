"""Airflow operators: scheduling around the verbs and the run of a sync; they hold no semantics of their own."""

from tidegate.operators.doctor import TidegateDoctorOperator
from tidegate.operators.starrocks import StarRocksStreamLoadOperator
from tidegate.operators.sync import TidegateSyncOperator
from tidegate.operators.write import TidegateDeleteOperator, TidegateUpsertOperator

__all__ = [
    "StarRocksStreamLoadOperator",
    "TidegateDeleteOperator",
    "TidegateDoctorOperator",
    "TidegateSyncOperator",
    "TidegateUpsertOperator",
]
