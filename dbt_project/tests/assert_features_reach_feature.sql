-- The features that the load counted are in staging and in feature, each with its name.
-- feature has an id once, by its key: an id under two names is one more row in staging.
with counted as (
    select coalesce(max(feature_loads.num_features), 0) as num_features
    from {{ ref('stg_feature_load') }} as feature_loads
    inner join {{ current_load() }} as partitions on feature_loads.load_id = partitions.load_id
),

staged as (
    select
        count(*) as num_features,
        {{ feature_checksum() }} as checksum
    from {{ ref('stg_feature') }}
),

published as (
    select
        count(*) as num_features,
        {{ feature_checksum() }} as checksum
    from {{ ref('feature') }}
),

validation_errors as (
    select
        counted.num_features as counted_features,
        staged.num_features as staged_features,
        published.num_features as published_features
    from counted
    cross join staged
    cross join published
    where
        counted.num_features <> staged.num_features
        or staged.num_features <> published.num_features
        or staged.checksum <> published.checksum
)

select * from validation_errors
