"""Generated source data that looks like Ali-CCP: the same files, fields, coverage, id blocks, values and order.

What the data looks like is in `facts`; the decision record "generated source data" says what is known, what is assumed
and what is not reproduced. The same arguments give the same bytes on every run with the same numpy and zlib.
"""

from embedded.source_data.files import ArchiveSummary, MemberSummary, expected_bytes, write_archive, write_csvs

__all__ = ["ArchiveSummary", "MemberSummary", "expected_bytes", "write_archive", "write_csvs"]
