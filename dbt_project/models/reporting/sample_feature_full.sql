-- Each table is read by its key, whatever a server believes of its size: after a build it may not have counted it yet.
with samples as (
    select * from {{ ref('sample') }} force index (`primary`)
),

features as (
    select * from {{ ref('feature') }} force index (`primary`)
),

sample_features as (
    select * from {{ ref('sample_feature') }} force index (`primary`)
),

common_feature_groups as (
    select * from {{ ref('common_feature_group') }} force index (`primary`)
),

sides as (
    select 'sample' as side
    union all
    select 'common' as side
),

-- Joins alone: of a union of the two sides a server makes every row before it gives the first. A side's key is null on
-- the other side, so that nothing is read there; outer joins keep the tables in this order.
final as (
    select
        samples.sample_id,
        sides.side,
        coalesce(own_names.feature_name, common_names.feature_name) as feature_name,
        coalesce(sample_features.feature_id, common_feature_groups.feature_id) as feature_id,
        cast(coalesce(sample_features.feature_value, common_feature_groups.feature_value) as double) as feature_value
    from samples
    cross join sides
    left join sample_features
        on sample_features.sample_id = case when sides.side = 'sample' then samples.sample_id end
    left join common_feature_groups
        on
            common_feature_groups.common_feature_index
            = case when sides.side = 'common' then samples.common_feature_index end
    left join features as own_names on sample_features.feature_id = own_names.feature_id
    left join features as common_names on common_feature_groups.feature_id = common_names.feature_id
    where coalesce(sample_features.feature_id, common_feature_groups.feature_id) is not null
)

select * from final
