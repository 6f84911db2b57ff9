with fields as (
    select * from {{ ref('feature_field') }}
),

features as (
    select * from {{ ref('feature') }}
),

samples as (
    select * from {{ ref('sample') }}
),

sample_features as (
    select * from {{ ref('sample_feature') }}
),

-- In the order of the features, or their sums would be kept on the disk until all are added up.
common_feature_groups as (
    select * from {{ ref('common_feature_group') }} force index (feature_id)
),

own_counts as (
    select
        feature_id,
        count(*) as num_impressions
    from sample_features
    group by feature_id
),

group_sizes as (
    select
        common_feature_index,
        count(*) as num_impressions
    from samples
    group by common_feature_index
),

-- A group counts as often as its impressions.
common_counts as (
    select
        common_feature_groups.feature_id,
        sum(group_sizes.num_impressions) as num_impressions
    from common_feature_groups
    inner join group_sizes on common_feature_groups.common_feature_index = group_sizes.common_feature_index
    group by common_feature_groups.feature_id
),

counted as (
    select
        features.feature_id,
        features.feature_name,
        coalesce(own_counts.num_impressions, 0) + coalesce(common_counts.num_impressions, 0) as num_impressions
    from features
    left join own_counts on features.feature_id = own_counts.feature_id
    left join common_counts on features.feature_id = common_counts.feature_id
),

final as (
    select
        counted.feature_id,
        counted.feature_name,
        fields.meaning,
        fields.side,
        counted.num_impressions,
        row_number() over (
            partition by counted.feature_name
            order by counted.num_impressions desc, counted.feature_id asc
        ) as frequency_rank
    from counted
    left join fields on counted.feature_name = fields.feature_name
)

select * from final
