-- dim_feature has every feature with a rank of its own, and its counts add up to the structures of all impressions,
-- their own and those of their groups.
with found as (
    select
        count(*) as num_rows,
        coalesce(sum(num_impressions), 0) as num_structures,
        count(distinct feature_name, frequency_rank) as num_ranks
    from {{ ref('dim_feature') }}
),

features as (
    select count(*) as num_rows
    from {{ ref('feature') }}
),

own_structures as (
    select count(*) as num_structures
    from {{ ref('sample_feature') }}
),

group_lengths as (
    select
        common_feature_index,
        count(*) as num_structures
    from {{ ref('common_feature_group') }}
    group by common_feature_index
),

common_structures as (
    select coalesce(sum(group_lengths.num_structures), 0) as num_structures
    from {{ ref('sample') }} as samples
    inner join group_lengths on samples.common_feature_index = group_lengths.common_feature_index
),

validation_errors as (
    select
        found.num_rows,
        features.num_rows as expected_rows,
        found.num_ranks,
        found.num_structures,
        own_structures.num_structures + common_structures.num_structures as expected_structures
    from found
    cross join features
    cross join own_structures
    cross join common_structures
    where
        found.num_rows <> features.num_rows
        or found.num_ranks <> found.num_rows
        or found.num_structures <> own_structures.num_structures + common_structures.num_structures
)

select * from validation_errors
