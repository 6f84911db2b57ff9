"""What is known of the Ali-CCP source, as figures that the generator follows.

Counts, labels, coverage and id blocks are those of the published data (Ali-CCP: Alibaba Click and Conversion
Prediction, https://tianchi.aliyun.com/dataset/408) and of independent parses of it. Where a block as seen is too narrow
for the published number of distinct ids, it is widened just enough; `docs/decisions` says which.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One feature name.

    Attributes:
        name: the feature name, as printed.
        first_id: the lowest id of the field's block.
        last_id: the highest id of the field's block.
        distinct: how many ids of the block exist.
        skew: the popularity of the r-th most popular id falls with r ** (1 / skew - 1); 1 is uniform.
    """

    name: str
    first_id: int
    last_id: int
    distinct: int
    skew: int


@dataclass(frozen=True)
class DataSet:
    """One data set of the source at full size.

    Attributes:
        name: as in the file names.
        samples: rows of the sample skeleton.
        groups: rows of the common features file, which is the number of distinct common feature indexes.
        common_structures: mean feature structures of a common row.
        intentions: mean structures of field 210 in a skeleton row.
        crossed_intentions: mean structures of field 853 in a skeleton row.
        first_line: the real first line of the skeleton file, where it is known.
    """

    name: str
    samples: int
    groups: int
    common_structures: float
    intentions: float
    crossed_intentions: float
    first_line: str | None


REAL_FIRST_LINE = (
    "1,0,0,bacff91692951881,9,"
    "210\x029052218\x031.0\x01210\x029064553\x031.0\x01210\x029093445\x031.0\x01216\x029154780\x031.0\x01"
    "301\x029351665\x031.0\x01205\x024186222\x031.0\x01206\x028316799\x031.0\x01207\x028416205\x031.0\x01"
    "508\x029355039\x030.69315"
)

# The common rows of test were never counted; 498 is 10 GB over 884,212 rows at train's bytes per structure.
DATA_SETS = {
    data_set.name: data_set
    for data_set in (
        DataSet("train", 42_300_135, 730_600, 518.0, 6.1, 1.4, REAL_FIRST_LINE),
        DataSet("test", 43_016_840, 884_212, 498.0, 6.05, 1.38, None),
    )
}

# (click, conversion) and its rows in train. Test has no published counts and takes the same shares.
LABEL_ROWS = {(0, 0): 40_655_649, (1, 0): 1_635_454, (1, 1): 8_802, (0, 1): 230}
# What even the smallest file holds, so that no kind of row goes unseen.
LABEL_MINIMUM = {(0, 0): 0, (1, 0): 1, (1, 1): 3, (0, 1): 1}

# Made up: of data with something for a model to find, which labels there are, and in which ratio; on the
# logistic scale, how far apart the features of a field may be for a click, and what having one of a field does for a
# conversion.
SIGNAL_LABEL_ROWS = {(0, 0): 700, (1, 0): 200, (1, 1): 99, (0, 1): 1}
CLICK_EFFECTS = {"206": 6.0, "301": 4.0}
CONVERSION_EFFECTS = {"508": 1.5, "509": 3.0, "702": 3.0}

# Skeleton rows of train that lack features.
ROWS_WITHOUT_ITEM = 79
ROWS_WITHOUT_INTENTIONS = 4_347

# Mean bytes of a row, line end included.
SKELETON_ROW_BYTES = 258
COMMON_ROW_BYTES = 11_800

SINGLE_GROUP_SHARE = 0.012
LARGEST_COMMON_ROW = 2_706
MOST_INTENTIONS = 21  # with as many crossed ones and the eight single-valued fields: 50, the longest skeleton row

FIELDS = (
    Field("101", 1, 412_797, 295_787, 1),
    Field("109_14", 439_500, 451_722, 12_223, 2),
    Field("110_14", 790_000, 3_335_608, 2_545_609, 2),
    Field("121", 3_438_658, 3_438_754, 97, 2),
    Field("122", 3_438_755, 3_438_767, 13, 1),
    Field("124", 3_438_768, 3_438_769, 2, 1),
    Field("125", 3_438_770, 3_438_776, 7, 1),
    Field("126", 3_438_777, 3_438_779, 3, 1),
    Field("127", 3_438_780, 3_438_782, 3, 1),
    Field("127_14", 3_438_783, 3_858_000, 396_460, 2),
    Field("128", 3_864_885, 3_864_886, 2, 1),
    Field("129", 3_864_887, 3_864_890, 4, 1),
    Field("150_14", 3_864_891, 3_964_116, 99_226, 2),
    Field("205", 4_186_000, 7_700_000, 3_206_396, 2),
    Field("206", 8_314_800, 8_323_426, 8_627, 2),
    Field("207", 8_384_000, 8_998_738, 614_739, 2),
    Field("210", 9_020_000, 9_118_713, 98_714, 2),
    Field("216", 9_138_000, 9_348_972, 210_973, 2),
    Field("301", 9_351_665, 9_351_667, 3, 1),
    Field("508", 9_352_000, 9_359_752, 7_753, 2),
    Field("509", 9_400_000, 9_789_787, 389_788, 2),
    Field("702", 9_860_000, 10_003_918, 143_919, 2),
    Field("853", 10_004_484, 10_091_378, 86_895, 2),
)
FIELD_NUMBER = {field.name: number for number, field in enumerate(FIELDS)}

# Share of common rows that have a field. The profile's fields come and go together; spend I and geography go with it.
USER_COVERAGE = 0.998
PROFILE_COVERAGE = 0.87
PROFILE = ("121", "122", "124", "125", "127", "128")
PROFILE_DETAIL_COVERAGE = {"126": 0.42, "129": 0.64}

# Structures of the four histories over all joined rows, in thousand millions: how a common row divides among them.
HISTORIES = {"109_14": 2.92, "110_14": 10.57, "127_14": 6.50, "150_14": 5.75}

# Share of skeleton rows that have a field.
BRAND_COVERAGE = 0.71
# The crossed fields: the field that an id of theirs stands for, and the share of rows.
CROSSED_COVERAGE = {"508": ("206", 0.70), "509": ("207", 0.22), "702": ("216", 0.22)}

SMALLEST_FRACTION, LARGEST_FRACTION = 0.0797, 8.2
