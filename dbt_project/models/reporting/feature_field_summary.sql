with fields as (
    select * from {{ ref('feature_field') }}
),

features as (
    select * from {{ ref('feature') }}
),

sample_features as (
    select * from {{ ref('sample_feature') }}
),

common_feature_groups as (
    select * from {{ ref('common_feature_group') }}
),

row_counts as (
    select
        'sample' as side,
        count(*) as num_rows
    from {{ ref('sample') }}
    union all
    select
        'common' as side,
        count(distinct common_feature_index) as num_rows
    from common_feature_groups
),

structure_counts as (
    select
        'sample' as side,
        features.feature_name,
        count(*) as num_structures,
        min(cast(sample_features.feature_value as double)) as min_value,
        max(cast(sample_features.feature_value as double)) as max_value
    from sample_features
    inner join features on sample_features.feature_id = features.feature_id
    group by features.feature_name
    union all
    select
        'common' as side,
        features.feature_name,
        count(*) as num_structures,
        min(cast(common_feature_groups.feature_value as double)) as min_value,
        max(cast(common_feature_groups.feature_value as double)) as max_value
    from common_feature_groups
    inner join features on common_feature_groups.feature_id = features.feature_id
    group by features.feature_name
),

-- Apart from the others, and by an outer join, so that the features alone are sorted, and each looked up in its index:
-- else every structure is sorted, on disk.
distinct_counts as (
    select
        'sample' as side,
        features.feature_name,
        count(distinct sample_features.feature_id) as num_features,
        count(distinct sample_features.sample_id) as num_rows
    from features
    left join sample_features on features.feature_id = sample_features.feature_id
    group by features.feature_name
    union all
    select
        'common' as side,
        features.feature_name,
        count(distinct common_feature_groups.feature_id) as num_features,
        count(distinct common_feature_groups.common_feature_index) as num_rows
    from features
    left join common_feature_groups on features.feature_id = common_feature_groups.feature_id
    group by features.feature_name
),

final as (
    select
        structure_counts.feature_name,
        structure_counts.side,
        fields.meaning,
        distinct_counts.num_features,
        structure_counts.num_structures,
        cast(distinct_counts.num_rows as double) / row_counts.num_rows as coverage,
        structure_counts.min_value,
        structure_counts.max_value
    from structure_counts
    inner join distinct_counts
        on structure_counts.side = distinct_counts.side and structure_counts.feature_name = distinct_counts.feature_name
    inner join row_counts on structure_counts.side = row_counts.side
    left join fields on structure_counts.feature_name = fields.feature_name
)

select * from final
