-- The relationship that no foreign key can hold: MySQL 8.4 and later refuse one to a key that is not unique.
-- The published development archives were drawn without regard to the groups, so there nearly every sample is an orphan
-- and this warns with their number; in production mode it fails.
{{ config(
    severity=var('orphan_sample_severity') or ('warn' if run_mode() == 'development' else 'error'),
    fail_calc='coalesce(sum(num_samples), 0)',
    limit=none,
) }}

with group_names as (
    select distinct common_feature_index
    from {{ ref('sample') }}
),

validation_errors as (
    select
        group_names.common_feature_index,
        (
            select count(*)
            from {{ ref('sample') }} as samples
            where samples.common_feature_index = group_names.common_feature_index
        ) as num_samples
    from group_names
    where not exists (
        select 1
        from {{ ref('common_feature_group') }} as common_features
        where common_features.common_feature_index = group_names.common_feature_index
    )
)

select * from validation_errors
