with samples as (
    select * from {{ ref('sample') }}
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

rejected_records as (
    select * from {{ ref('stg_rejected_record') }}
),

final as (
    select
        'sample' as table_name,
        count(*) as num_rows
    from samples
    union all
    select
        'feature' as table_name,
        count(*) as num_rows
    from features
    union all
    select
        'sample_feature' as table_name,
        count(*) as num_rows
    from sample_features
    union all
    select
        'common_feature_group' as table_name,
        count(*) as num_rows
    from common_feature_groups
    union all
    select
        'rejected_record' as table_name,
        count(*) as num_rows
    from rejected_records
)

select * from final
