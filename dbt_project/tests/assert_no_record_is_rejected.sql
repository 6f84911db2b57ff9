-- Rejected records are no error of the build, but nobody should overlook them: this warns with their number.
{{ config(
    severity='warn',
    fail_calc='coalesce(sum(num_rejects), 0)',
) }}

with validation_errors as (
    select
        source_file,
        reason,
        num_rejects
    from {{ ref('rejected_record_summary') }}
    -- A header line and empty last lines are no records.
    where reason not like '%, no record'
)

select * from validation_errors
