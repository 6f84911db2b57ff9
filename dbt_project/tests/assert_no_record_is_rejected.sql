-- Rejected records are no error of the build, but nobody should overlook them: this warns with their number.
{{ config(
    severity='warn',
    fail_calc='coalesce(sum(num_rejects), 0)',
) }}

with validation_errors as (
    select
        source_file,
        reason,
        count(*) as num_rejects
    from {{ ref('stg_rejected_record') }}
    group by
        source_file,
        reason
)

select * from validation_errors
