with partitions as (
    select * from {{ ref('stg_load_partition') }}
    where state <> 'superseded'
),

rejected_records as (
    select
        source_file,
        count(*) as recorded_rejects
    from {{ ref('stg_rejected_record') }}
    group by source_file
),

files as (
    select
        source_file,
        side,
        sum(num_lines) as num_lines,
        sum(num_rows) as num_rows,
        sum(num_rejects) as num_rejects,
        sum(num_non_records) as num_non_records,
        sum(num_structures) as num_structures
    from partitions
    group by
        source_file,
        side
),

row_counts as (
    select
        'sample' as side,
        (select count(*) from {{ ref('stg_sample') }}) as staged_rows,
        (select count(*) from {{ ref('stg_sample_feature') }}) as staged_structures,
        (select count(*) from {{ ref('sample') }}) as table_rows,
        (select count(*) from {{ ref('sample_feature') }}) as table_structures
    union all
    select
        'common' as side,
        (select count(*) from {{ ref('stg_common_feature') }}) as staged_rows,
        (select count(*) from {{ ref('stg_common_feature_group') }}) as staged_structures,
        (select count(distinct common_feature_index) from {{ ref('common_feature_group') }}) as table_rows,
        (select count(*) from {{ ref('common_feature_group') }}) as table_structures
),

final as (
    select
        files.source_file,
        files.side,
        files.num_lines,
        files.num_rows,
        files.num_rejects,
        files.num_non_records,
        coalesce(rejected_records.recorded_rejects, 0) as recorded_rejects,
        row_counts.staged_rows,
        row_counts.table_rows,
        files.num_structures,
        row_counts.staged_structures,
        row_counts.table_structures
    from files
    inner join row_counts on files.side = row_counts.side
    left join rejected_records on files.source_file = rejected_records.source_file
)

select * from final
