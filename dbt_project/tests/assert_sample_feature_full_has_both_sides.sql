-- The first impressions have in sample_feature_full the features of their own and those of their group, each once.
-- A hundred of them: all are thousands of millions of rows.
with samples as (
    select
        sample_id,
        num_features,
        common_feature_index
    from {{ ref('stg_sample') }}
    order by sample_id
    limit 100
),

expected as (
    select
        samples.sample_id,
        samples.num_features + coalesce(common_features.num_features, 0) as num_features
    from samples
    left join {{ ref('stg_common_feature') }} as common_features
        on samples.common_feature_index = common_features.common_feature_index
),

validation_errors as (
    select
        expected.sample_id,
        expected.num_features
    from expected
    where
        2 * expected.num_features <> (
            -- As many rows as features, and as many features as rows.
            select count(*) + count(distinct full_features.side, full_features.feature_id)
            from {{ ref('sample_feature_full') }} as full_features
            where full_features.sample_id = expected.sample_id
        )
)

select * from validation_errors
