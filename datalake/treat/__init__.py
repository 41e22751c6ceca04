"""Raw lines become rows of a treated table: typed, told good from bad, merged, checked, published in one transaction."""

from datalake.treat.batch import Batch, StaleTable, prepare
from datalake.treat.gates import CheckResult

__all__ = ["Batch", "CheckResult", "StaleTable", "prepare"]
