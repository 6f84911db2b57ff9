-- Each table is read by its key, so that the structures of an impression come together and nothing is sorted.
with samples as (
    select * from {{ ref('sample') }} force index (`primary`)
),

sample_features as (
    select * from {{ ref('sample_feature') }} force index (`primary`)
),

features as (
    select * from {{ ref('feature') }} force index (`primary`)
),

-- An impression is one row of `samples`: the largest of its labels is its label.
final as (
    select
        samples.sample_id,
        max(samples.click_label) as click_label,
        max(samples.conversion_label) as conversion_label,
        max(samples.common_feature_index) as common_feature_index,
        max(case when features.feature_name = '205' then features.feature_id end) as item_id,
        max(case when features.feature_name = '206' then features.feature_id end) as category_id,
        max(case when features.feature_name = '207' then features.feature_id end) as shop_id,
        max(case when features.feature_name = '216' then features.feature_id end) as brand_id,
        max(case when features.feature_name = '301' then features.feature_id end) as scene_id,
        max(case when features.feature_name = '508' then features.feature_id end) as crossed_category_id,
        max(case when features.feature_name = '508' then cast(sample_features.feature_value as double) end)
            as crossed_category_value,
        max(case when features.feature_name = '509' then features.feature_id end) as crossed_shop_id,
        max(case when features.feature_name = '509' then cast(sample_features.feature_value as double) end)
            as crossed_shop_value,
        max(case when features.feature_name = '702' then features.feature_id end) as crossed_brand_id,
        max(case when features.feature_name = '702' then cast(sample_features.feature_value as double) end)
            as crossed_brand_value
    from samples
    left join sample_features on samples.sample_id = sample_features.sample_id
    left join features on sample_features.feature_id = features.feature_id
    group by samples.sample_id
)

select * from final
