"""The reporting views: a reader pays for what is asked, and not for all that could have been."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from embedded.mysql_server import find_mysql
from tests.integration.dbt.project import DATABASE, STAGING, DbtProject, Published
from tests.integration.dbt.staged_data import FIELDS, Tables, generate_load, stage
from tests.surroundings import CHECKOUT

FULL = "sample_feature_full"
QUERIES_FOR_SOME = [
    f"select * from {FULL} limit 3",
    f"select * from (select * from {FULL}) as shown limit 5",
    f"select count(*) from (select * from {FULL} limit 10) as shown",
    f"select * from {FULL} where sample_id = 7",
    f"select * from {FULL} where sample_id between 7 and 9",
    f"select * from {FULL} where side = 'common' limit 3",
    f"select * from {FULL} where feature_name = '205' limit 3",
    f"select * from {FULL} where feature_name = '101' limit 3",
    f"select {FULL}.* from {FULL} inner join (select 7 as sample_id union all select 1999) as some using (sample_id)",
]


@pytest.mark.parametrize("query", QUERIES_FOR_SOME, ids=range(len(QUERIES_FOR_SOME)))
def test_some_rows_of_sample_feature_full_are_read_alone(project: DbtProject, published: Published, query: str) -> None:
    counts = "show session status where variable_name like 'Handler_read%' or variable_name like 'Handler%write'"
    before, after = (sum(int(str(row[1])) for row in project.query(*each, counts)) for each in ([], [query]))
    assert 0 < after - before < 300
    assert len(published.load["sample_feature"]) > 10_000


def test_sample_feature_full_has_both_sides_of_every_impression(project: DbtProject, published: Published) -> None:
    names = {row[0]: row[1] for row in published.contents["feature"]}
    groups: dict[object, list[tuple[object, ...]]] = {}
    for group, *structure in published.contents["common_feature_group"]:
        groups.setdefault(group, []).append(tuple(structure))
    own = [("sample", *row) for row in published.contents["sample_feature"]]
    common = [("common", row[0], *structure) for row in published.contents["sample"] for structure in groups[row[3]]]
    expected = sorted(
        (sample_id, side, names[feature_id], feature_id, float(str(value)))
        for side, sample_id, feature_id, value in own + common
    )
    # An impression without features of its own, whose group is not there either, has no row.
    alone = "insert into sample values (4294967295, 0, 1, '0000000000000000')"
    assert sorted(project.query("start transaction", alone, f"select * from {FULL}")) == expected


VIEWS = sorted(path.stem for path in (CHECKOUT / "dbt_project/models/reporting").glob("*.sql"))
# What the first rows of a view may take at 1 % of train: seconds, and bytes of temporary files. The tables have 1 GB.
MOST = {FULL: (10, 0)}
MOST_OF_A_SUMMARY = (300, 250_000_000)


@pytest.fixture(scope="module")
def hundredth(project: DbtProject, root: Path) -> Iterator[None]:
    """1 % of train by its numbers of rows: 420,000 impressions with 12 features, 7,000 groups with 500."""
    filled = ("sample", "common_feature", "sample_feature", "common_feature_group", "feature")
    load: Tables = generate_load(num_samples=1) | {table: [] for table in filled}
    stage(project.mysql, DATABASE, load, root)
    # A list has one id of each of 12 and 500 ranges, which have 200,000 and 1,000 ids of a field.
    own, common = (
        f"elt({number} % {len(names)} + 1, {', '.join(map(repr, names))})"
        for number, names in zip(("id div 200000", "id div 1000"), FIELDS.values(), strict=True)
    )
    project.query(
        "create table number (primary key (n)) as with recursive number as"
        " (select 0 as n union all select n + 1 from number where n < 999) select n from number",
        "insert into sample select id, id % 2, id % 3 = 0, lpad(id div 60, 16, '0'), 12, 0"
        " from (select a.n * 1000 + b.n as id from number as a inner join number as b where a.n < 420) as ids",
        "insert into common_feature select common_feature_index, 500, 0 from sample group by common_feature_index",
        "insert into sample_feature select sample_id, n * 200000 + crc32(sample_id * 12 + n) % 200000, '1.0'"
        " from sample inner join number on n < 12",
        "insert into common_feature_group select common_feature_index,"
        " 2400000 + n * 1000 + crc32(concat(common_feature_index, n)) % 1000, '0.69315'"
        " from common_feature inner join number on n < 500",
        f"insert into feature select id, if(id < 2400000, {own}, {common})"
        " from (select a.n * 1000000 + b.n * 1000 + c.n as id from number as a inner join number as b"
        " inner join number as c where a.n < 3) as ids",
        "drop table number",
        database=STAGING,
    )
    project.succeed("run")
    yield
    stage(project.mysql, DATABASE, load, root)


@pytest.mark.soak
@pytest.mark.usefixtures("hundredth")
@pytest.mark.parametrize("view", VIEWS)
def test_the_first_rows_of_a_view_fill_no_disk(project: DbtProject, view: str) -> None:
    server = find_mysql(project.mysql.unix_socket.parent)
    assert server
    most_seconds, most_bytes = MOST.get(view, MOST_OF_A_SUMMARY)
    query = f"select * from {view} limit 3"
    before, begun, num_bytes = temporary_bytes(server.pid), time.monotonic(), 0
    with ThreadPoolExecutor(1) as pool:
        rows = pool.submit(project.query, query)
        while not rows.done() and time.monotonic() - begun < most_seconds and num_bytes <= most_bytes:
            time.sleep(0.01)
            num_bytes = max(num_bytes, temporary_bytes(server.pid) - before)
        seconds = time.monotonic() - begun
        for (connection,) in project.query(f"select id from information_schema.processlist where info = '{query}'"):
            project.query(f"kill query {connection}")
    print(f"{view}: {seconds:.2f} s, {num_bytes:,} bytes of temporary files")
    assert rows.exception() is None
    assert num_bytes <= most_bytes


def temporary_bytes(pid: int) -> int:
    """What a server keeps in files that are temporary, whether they still have names or not."""
    num_bytes = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if any(place in str(descriptor.readlink()) for place in ("mysql_tmp", "#innodb_temp", "ibtmp1")):
                num_bytes += descriptor.stat().st_blocks * 512
    return num_bytes
