"""Generated source data that looks like Ali-CCP: the same files, fields, coverage, id blocks, values and order.

What the data looks like is in `facts`; the decision record "generated source data" says what is known, what is assumed
and what is not reproduced. The same arguments give the same bytes on every run with the same numpy and zlib.
"""

from source_data.facts import DATA_SETS
from source_data.files import ArchiveSummary, expected_bytes, generate_archive, write_archive, write_csvs

__all__ = ["DATA_SETS", "ArchiveSummary", "expected_bytes", "generate_archive", "write_archive", "write_csvs"]
