"""Records as a pandas data frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.environment import require
from .record import FLAT_FIELDS, Record, flat

if TYPE_CHECKING:
    import pandas


def to_dataframe(records: Iterable[Record]) -> pandas.DataFrame:
    """One row a record, in order, with the columns of the CSV format.

    Args:
        records: any number, such as `Detector.detect_many` yields.

    Returns:
        A frame whose columns are `FLAT_FIELDS`: s1, s2 and s3 instead of `stats`; reasons and the statements of
        `evidence` joined by "; ". What a record lacks is missing (NaN or None).

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    require("a data frame", "pandas", "pandas")
    import pandas

    return pandas.DataFrame([flat(record) for record in records], columns=list(FLAT_FIELDS))
