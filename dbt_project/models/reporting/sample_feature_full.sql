with samples as (
    select * from {{ ref('sample') }} force index (primary)
),

features as (
    select * from {{ ref('feature') }} force index (primary)
),

sample_features as (
    select * from {{ ref('sample_feature') }} force index (primary)
),

common_feature_groups as (
    select * from {{ ref('common_feature_group') }} force index (primary)
),

sides as (
    select 'sample' as side
    union all
    select 'common' as side
),

-- Joins alone: of a union of the two sides both servers make every row before they give the first. A side's key is null
-- on the other side, so that nothing is read there.
final as (
    select
        samples.sample_id,
        sides.side,
        features.feature_name,
        features.feature_id,
        cast(coalesce(sample_features.feature_value, common_feature_groups.feature_value) as double) as feature_value
    from samples
    cross join sides
    left join sample_features
        on sample_features.sample_id = case when sides.side = 'sample' then samples.sample_id end
    left join common_feature_groups
        on
            common_feature_groups.common_feature_index
            = case when sides.side = 'common' then samples.common_feature_index end
    straight_join features on features.feature_id = coalesce(sample_features.feature_id, common_feature_groups.feature_id)
)

select * from final
