-- Rejected records are no error of the build, but nobody should overlook them: this warns with their number.
{{ config(
    severity='warn',
    fail_calc='coalesce(sum(num_rejects), 0)',
) }}

with validation_errors as (
    select
        source_file,
        -- What stands behind a colon is of the record.
        substring_index(reason, ': ', 1) as defect,
        count(*) as num_rejects
    from {{ ref('stg_rejected_record') }}
    -- A header line and empty last lines are no records.
    where reason not like '%, no record'
    group by
        source_file,
        defect
)

select * from validation_errors
