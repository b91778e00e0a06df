"""tidegate keeps analytical stores in step with MySQL, in scheduled micro-batches.

Nothing is imported here: Airflow reads :mod:`tidegate.provider_info` before its own configuration is ready.
"""

__version__ = "0.1.0"
