-- fct_impression has every impression with its labels, and every structure of the fields that it has as columns: an
-- impression with two of one field would be short of one, and a table that is older than the four differs.
with found as (
    select
        count(*) as num_rows,
        coalesce(sum(click_label), 0) as clicks,
        coalesce(sum(conversion_label), 0) as conversions,
        coalesce(sum(item_id), 0) as item,
        coalesce(sum(category_id), 0) as category,
        coalesce(sum(shop_id), 0) as shop,
        coalesce(sum(brand_id), 0) as brand,
        coalesce(sum(scene_id), 0) as scene,
        coalesce(sum(crossed_category_id), 0) as crossed_category,
        coalesce(sum(crossed_shop_id), 0) as crossed_shop,
        coalesce(sum(crossed_brand_id), 0) as crossed_brand
    from {{ ref('fct_impression') }}
),

counted as (
    select
        count(*) as num_rows,
        coalesce(sum(click_label), 0) as clicks,
        coalesce(sum(conversion_label), 0) as conversions
    from {{ ref('sample') }}
),

structures as (
    select
        coalesce(sum(case when features.feature_name = '205' then features.feature_id end), 0) as item,
        coalesce(sum(case when features.feature_name = '206' then features.feature_id end), 0) as category,
        coalesce(sum(case when features.feature_name = '207' then features.feature_id end), 0) as shop,
        coalesce(sum(case when features.feature_name = '216' then features.feature_id end), 0) as brand,
        coalesce(sum(case when features.feature_name = '301' then features.feature_id end), 0) as scene,
        coalesce(sum(case when features.feature_name = '508' then features.feature_id end), 0) as crossed_category,
        coalesce(sum(case when features.feature_name = '509' then features.feature_id end), 0) as crossed_shop,
        coalesce(sum(case when features.feature_name = '702' then features.feature_id end), 0) as crossed_brand
    from {{ ref('sample_feature') }} as sample_features
    inner join {{ ref('feature') }} as features on sample_features.feature_id = features.feature_id
    where features.feature_name in ('205', '206', '207', '216', '301', '508', '509', '702')
),

validation_errors as (
    select
        found.num_rows,
        counted.num_rows as expected_rows
    from found
    cross join counted
    cross join structures
    where
        found.num_rows <> counted.num_rows
        or found.clicks <> counted.clicks
        or found.conversions <> counted.conversions
        or found.item <> structures.item
        or found.category <> structures.category
        or found.shop <> structures.shop
        or found.brand <> structures.brand
        or found.scene <> structures.scene
        or found.crossed_category <> structures.crossed_category
        or found.crossed_shop <> structures.crossed_shop
        or found.crossed_brand <> structures.crossed_brand
)

select * from validation_errors
