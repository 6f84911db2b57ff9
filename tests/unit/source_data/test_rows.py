"""Generated data against what is known of the source, by a plain reading of the files."""

from __future__ import annotations

import hashlib
import re
import statistics
import tarfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from source_data.files import ArchiveSummary, write_archive, write_csvs
from tests.records import REAL_LINE

SCALE = 0.001

# Field: (side, first id, last id) of its block.
BLOCKS = {
    "101": ("common", 1, 412_797),
    "109_14": ("common", 430_000, 460_000),
    "110_14": ("common", 790_000, 3_438_657),
    "121": ("common", 3_438_658, 3_438_754),
    "122": ("common", 3_438_755, 3_438_767),
    "124": ("common", 3_438_768, 3_438_769),
    "125": ("common", 3_438_770, 3_438_776),
    "126": ("common", 3_438_777, 3_438_779),
    "127": ("common", 3_438_780, 3_438_782),
    "127_14": ("common", 3_438_783, 3_858_999),
    "128": ("common", 3_864_885, 3_864_886),
    "129": ("common", 3_864_887, 3_864_890),
    "150_14": ("common", 3_864_891, 3_979_999),
    "205": ("sample", 4_180_000, 7_700_000),
    "206": ("sample", 8_310_000, 8_329_999),
    "207": ("sample", 8_380_000, 8_999_999),
    "210": ("sample", 9_020_000, 9_119_999),
    "216": ("sample", 9_130_000, 9_349_999),
    "301": ("sample", 9_351_665, 9_351_667),
    "508": ("sample", 9_351_668, 9_399_999),
    "509": ("sample", 9_400_000, 9_799_999),
    "702": ("sample", 9_850_000, 10_004_483),
    "853": ("sample", 10_004_484, 10_091_378),
}
MANY = {"109_14", "110_14", "127_14", "150_14", "210", "853"}
COUNTED = {"109_14", "110_14", "127_14", "508", "509", "702"}
FRACTIONS = {"150_14", "853"}


@dataclass(frozen=True)
class Row:
    """A line, read plainly: its columns but the feature list, and the list's structures."""

    columns: tuple[str, ...]
    structures: tuple[tuple[str, int, str], ...]

    @property
    def index(self) -> str:
        """The common feature index."""
        return self.columns[-2]

    def has(self, name: str) -> bool:
        """Whether the row has a field."""
        return any(structure[0] == name for structure in self.structures)


@dataclass(frozen=True)
class Generated:
    """A data set, as its files say."""

    folder: Path
    summary: ArchiveSummary
    skeleton: list[Row]
    common: list[Row]


def read(path: Path) -> list[Row]:
    rows = []
    for line in path.read_bytes().decode("ascii").removesuffix("\n").split("\n"):
        *columns, features_list = line.split(",")
        parts = [re.split("[\x02\x03]", text) for text in features_list.split("\x01")]
        rows.append(Row(tuple(columns), tuple((name, int(feature_id), value) for name, feature_id, value in parts)))
    return rows


@pytest.fixture(scope="module", params=["train", "test"])
def generated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generated:
    folder = tmp_path_factory.mktemp(request.param)
    summary = write_csvs(folder, request.param, scale=SCALE)
    skeleton = read(folder / f"sample_skeleton_{request.param}.csv")
    return Generated(folder, summary, skeleton, read(folder / f"common_features_{request.param}.csv"))


@pytest.fixture(scope="module")
def is_train(generated: Generated) -> bool:
    return generated.folder.name.startswith("train")


def share(rows: list[Row], name: str) -> float:
    return sum(row.has(name) for row in rows) / len(rows)


def test_the_number_of_rows_is_the_scaled_number_of_the_source(generated: Generated, is_train: bool) -> None:
    expected = (42_300, 731) if is_train else (43_017, 884)

    assert (len(generated.skeleton), len(generated.common)) == expected
    assert (generated.summary.skeleton.rows, generated.summary.common.rows) == expected
    assert generated.summary.skeleton.structures == sum(len(row.structures) for row in generated.skeleton)
    assert generated.summary.common.structures == sum(len(row.structures) for row in generated.common)
    assert generated.summary.skeleton.bytes == (generated.folder / generated.summary.skeleton.name).stat().st_size


def test_the_first_line_of_train_is_the_publishers_own(generated: Generated, is_train: bool) -> None:
    with (generated.folder / generated.summary.skeleton.name).open("rb") as file:
        assert (file.readline() == REAL_LINE + b"\n") is is_train


def test_every_record_keeps_to_the_format(generated: Generated) -> None:
    assert [row.columns[0] for row in generated.skeleton] == [
        str(number) for number in range(1, len(generated.skeleton) + 1)
    ]
    for row in generated.skeleton + generated.common:
        assert re.fullmatch("[0-9a-f]{16}", row.index)
        assert row.columns[-1] == str(len(row.structures))
        assert len({feature_id for _, feature_id, _ in row.structures}) == len(row.structures)


def test_labels_have_the_shares_of_the_source_and_every_kind_occurs(generated: Generated) -> None:
    labels = Counter((int(row.columns[1]), int(row.columns[2])) for row in generated.skeleton)

    assert labels == generated.summary.labels
    assert labels[0, 1] >= 1
    assert labels[1, 1] >= 3
    assert (labels[1, 0] + labels[1, 1]) / labels.total() == pytest.approx(0.03887, abs=0.0005)


def test_samples_stand_in_groups_that_the_common_file_has_one_row_each_for(generated: Generated) -> None:
    runs = [(index, len(list(rows))) for index, rows in groupby(row.index for row in generated.skeleton)]
    order = [index for index, _ in runs]
    common = [row.index for row in generated.common]

    assert len(set(order)) == len(order)
    assert sorted(order) == sorted(common)
    assert common[1:] == sorted(common[1:])
    assert common[0] != min(common)
    assert order != sorted(order)
    assert max(size for _, size in runs) > 300
    assert sum(size == 1 for _, size in runs) / len(runs) == pytest.approx(0.012, abs=0.004)


def test_each_field_keeps_to_its_side_and_its_block_of_ids(generated: Generated) -> None:
    names: dict[int, set[str]] = defaultdict(set)
    seen = set()
    for side, rows in (("sample", generated.skeleton), ("common", generated.common)):
        for row in rows:
            for name, feature_id, _ in row.structures:
                expected_side, first, last = BLOCKS[name]
                assert side == expected_side
                assert first <= feature_id <= last
                names[feature_id].add(name)
                seen.add(name)

    assert seen == BLOCKS.keys()
    assert all(len(of_one_id) == 1 for of_one_id in names.values())


def test_only_the_fields_of_many_values_occur_twice_in_a_list(generated: Generated) -> None:
    twice: set[str] = set()
    for row in generated.skeleton + generated.common:
        twice.update(name for name, count in Counter(name for name, _, _ in row.structures).items() if count > 1)

    assert twice == MANY


def test_lists_are_as_long_as_in_the_source(generated: Generated, is_train: bool) -> None:
    lengths = [len(row.structures) for row in generated.skeleton]
    common = [len(row.structures) for row in generated.common]

    assert statistics.mean(lengths) == pytest.approx(13.35 if is_train else 13.28, abs=0.15)
    assert min(lengths) >= 1
    assert max(lengths) <= 50
    assert statistics.mean(common) == pytest.approx(518 if is_train else 498, rel=0.08)
    assert max(common) <= 2_706
    assert statistics.median(common) < 0.85 * statistics.mean(common)


@pytest.mark.parametrize(
    ("name", "coverage"),
    [("216", 0.71), ("301", 1.0), ("508", 0.70), ("509", 0.22), ("702", 0.22)],
)
def test_a_samples_fields_are_as_frequent_as_in_the_source(generated: Generated, name: str, coverage: float) -> None:
    assert share(generated.skeleton, name) == pytest.approx(coverage, abs=0.01)


@pytest.mark.parametrize(
    ("name", "coverage"),
    [("101", 0.998), ("121", 0.87), ("124", 0.87), ("128", 0.87), ("126", 0.42), ("129", 0.64)],
)
def test_a_groups_fields_are_as_frequent_as_in_the_source(generated: Generated, name: str, coverage: float) -> None:
    assert share(generated.common, name) == pytest.approx(coverage, abs=0.06 if coverage < 0.99 else 0.006)


def test_item_category_and_shop_are_missing_together_in_a_few_rows(generated: Generated) -> None:
    lacking = [[name for name in ("205", "206", "207") if not row.has(name)] for row in generated.skeleton]

    assert {tuple(names) for names in lacking} == {(), ("205", "206", "207")}
    assert 1 <= sum(bool(names) for names in lacking) <= 5
    assert 1 <= sum(not row.has("210") for row in generated.skeleton) <= 20


def test_the_histories_divide_a_common_row_as_in_the_source(generated: Generated) -> None:
    counts = Counter(name for row in generated.common for name, _, _ in row.structures)
    histories = {"109_14": 2.92, "110_14": 10.57, "127_14": 6.50, "150_14": 5.75}
    total = sum(counts[name] for name in histories)

    for name, weight in histories.items():
        assert counts[name] / total == pytest.approx(weight / sum(histories.values()), rel=0.1)


def test_values_are_printed_as_in_the_source(generated: Generated) -> None:
    for row in generated.skeleton + generated.common:
        for name, _, value in row.structures:
            assert re.fullmatch(r"\d+\.\d{1,5}", value)
            assert value.endswith(".0") or not value.endswith("0")
            if name in FRACTIONS:
                assert 0.0797 <= float(value) <= 8.2
            elif name in COUNTED:
                assert float(value) >= 0.69315
            else:
                assert value == "1.0"


def test_counts_are_logarithms_of_whole_numbers(generated: Generated) -> None:
    from math import exp, log

    counted = {value for row in generated.common for name, _, value in row.structures if name in COUNTED}

    assert len(counted) > 10
    for value in counted:
        whole = round(exp(float(value)))
        assert float(value) == round(log(whole), 5)


def test_the_order_inside_a_list_is_no_order(generated: Generated) -> None:
    ids = [[feature_id for _, feature_id, _ in row.structures] for row in generated.skeleton[1:2_000]]

    assert sum(row == sorted(row) for row in ids) < 5


def test_some_ids_are_far_more_popular_than_others(generated: Generated) -> None:
    brands = Counter(
        feature_id for row in generated.skeleton for name, feature_id, _ in row.structures if name == "216"
    )

    assert len(brands) > 1_000
    assert brands.most_common(1)[0][1] > 20 * brands.total() / len(brands)


def test_the_same_seed_gives_the_same_archive_and_another_seed_another(tmp_path: Path) -> None:
    checksums = []
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        write_archive(tmp_path / name, "train", scale=0.0001, seed=seed)
        checksums.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())

    assert checksums[0] == checksums[1]
    assert checksums[0] != checksums[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "three", "two"]


def test_the_archive_holds_the_two_files_that_the_csvs_are(tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", "test", scale=0.0001, seed=7)
    write_csvs(tmp_path, "test", scale=0.0001, seed=7)
    with tarfile.open(tmp_path / "archive", "r:gz") as archive:
        members = {member.name: member for member in archive}
        contents = {name: archive.extractfile(member) for name, member in members.items()}
        assert members.keys() == {"sample_skeleton_test.csv", "common_features_test.csv"}
        for name, content in contents.items():
            assert members[name].isfile()
            assert content
            assert content.read() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize(
    ("data_set", "scale"), [("validation", 0.001), ("train", 0.0), ("train", -1.0), ("train", 2.0)]
)
def test_an_argument_that_makes_no_sense_is_refused(tmp_path: Path, data_set: str, scale: float) -> None:
    with pytest.raises(UsageError):
        write_archive(tmp_path / "archive", data_set, scale=scale)
    assert list(tmp_path.iterdir()) == []
