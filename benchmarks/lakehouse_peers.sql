-- The sales lakehouse as a plain SQL script, for DuckDB and for Spark. Words in braces differ between them and are filled
-- in by lakehouse_peers.py. Each statement is a table: its name is in the comment above it, after "table:".

-- table: customers
WITH typed AS (
    SELECT
        nullif(trim(customer_id), '') AS customer_id,
        nullif(trim(customer_unique_id), '') AS customer_unique_id,
        lpad(CAST(customer_zip_code_prefix AS STRING), 5, '0') AS customer_zip,
        translate(nullif(lower(trim(customer_city)), ''), '{accented}', '{plain}') AS customer_city,
        nullif(upper(trim(customer_state)), '') AS customer_state,
        load_time, source_file, row_number
    FROM bronze_customers
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY load_time DESC, source_file DESC, row_number DESC) AS place
    FROM typed
    WHERE customer_id IS NOT NULL AND customer_unique_id IS NOT NULL
        AND (customer_state IS NULL OR customer_state IN ({states}))
)
SELECT customer_id, customer_unique_id, customer_zip, customer_city, customer_state, load_time, source_file, row_number
FROM ranked WHERE place = 1;

-- table: sellers
WITH typed AS (
    SELECT
        nullif(trim(seller_id), '') AS seller_id,
        lpad(CAST(seller_zip_code_prefix AS STRING), 5, '0') AS seller_zip,
        translate(nullif(lower(trim(seller_city)), ''), '{accented}', '{plain}') AS seller_city,
        nullif(upper(trim(seller_state)), '') AS seller_state,
        load_time, source_file, row_number
    FROM bronze_sellers
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY seller_id ORDER BY load_time DESC, source_file DESC, row_number DESC) AS place
    FROM typed
    WHERE seller_id IS NOT NULL AND (seller_state IS NULL OR seller_state IN ({states}))
)
SELECT seller_id, seller_zip, seller_city, seller_state, load_time, source_file, row_number FROM ranked WHERE place = 1;

-- table: products
WITH typed AS (
    SELECT
        nullif(trim(product_id), '') AS product_id,
        nullif(lower(trim(product_category_name)), '') AS category,
        product_name_lenght AS name_length,
        product_description_lenght AS description_length,
        product_photos_qty AS photos,
        CAST(product_weight_g AS DOUBLE) AS weight_g,
        CAST(product_length_cm AS DOUBLE) AS length_cm,
        CAST(product_height_cm AS DOUBLE) AS height_cm,
        CAST(product_width_cm AS DOUBLE) AS width_cm,
        load_time, source_file, row_number
    FROM bronze_products
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY product_id ORDER BY load_time DESC, source_file DESC, row_number DESC) AS place
    FROM typed
    WHERE product_id IS NOT NULL
)
SELECT
    product_id, category, name_length, description_length, photos, weight_g, length_cm, height_cm, width_cm,
    load_time, source_file, row_number
FROM ranked WHERE place = 1;

-- table: category_translation
WITH ranked AS (
    SELECT
        lower(trim(product_category_name)) AS category,
        lower(trim(product_category_name_english)) AS category_english,
        load_time, source_file, row_number,
        row_number() OVER (
            PARTITION BY lower(trim(product_category_name))
            ORDER BY load_time DESC, source_file DESC, row_number DESC
        ) AS place
    FROM bronze_category_translation
    WHERE product_category_name IS NOT NULL AND product_category_name_english IS NOT NULL
)
SELECT category, category_english, load_time, source_file, row_number FROM ranked WHERE place = 1;

-- table: geolocation
WITH points AS (
    SELECT DISTINCT
        lpad(CAST(geolocation_zip_code_prefix AS STRING), 5, '0') AS zip,
        CAST(floor(geolocation_lat * 1e6 + 0.5) AS BIGINT) AS latitude,
        CAST(floor(geolocation_lng * 1e6 + 0.5) AS BIGINT) AS longitude,
        translate(nullif(lower(trim(geolocation_city)), ''), '{accented}', '{plain}') AS city,
        nullif(upper(trim(geolocation_state)), '') AS state
    FROM bronze_geolocation
    WHERE geolocation_lat BETWEEN -33.76 AND 5.28 AND geolocation_lng BETWEEN -73.99 AND -28.83
),
places AS (
    SELECT zip, city, state, row_number() OVER (PARTITION BY zip ORDER BY count(*) DESC, city, state) AS place
    FROM points
    GROUP BY zip, city, state
),
medians AS (
    SELECT zip, median(latitude) AS latitude, median(longitude) AS longitude, count(*) AS points FROM points GROUP BY zip
)
SELECT
    medians.zip,
    round(floor(latitude + 0.5) / 1e6, 6) AS latitude,
    round(floor(longitude + 0.5) / 1e6, 6) AS longitude,
    city, state, points
FROM medians LEFT JOIN places ON places.zip = medians.zip AND place = 1;

-- table: orders
WITH typed AS (
    SELECT
        nullif(trim(order_id), '') AS order_id,
        nullif(trim(customer_id), '') AS customer_id,
        lower(trim(order_status)) AS order_status,
        order_purchase_timestamp AS purchased_at,
        order_approved_at AS approved_at,
        order_delivered_carrier_date AS shipped_at,
        order_delivered_customer_date AS delivered_at,
        order_estimated_delivery_date AS estimated_at,
        load_time, source_file, row_number
    FROM bronze_orders
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY order_id ORDER BY load_time DESC, source_file DESC, row_number DESC) AS place
    FROM typed
    WHERE order_id IS NOT NULL AND order_status IN ({statuses}) AND purchased_at BETWEEN {first} AND {end}
        AND (approved_at IS NULL OR approved_at BETWEEN {first} AND {end})
        AND (shipped_at IS NULL OR shipped_at BETWEEN {first} AND {end})
        AND (delivered_at IS NULL OR delivered_at BETWEEN {first} AND {end})
        AND (estimated_at IS NULL OR estimated_at BETWEEN {first} AND {end})
        AND customer_id IN (SELECT customer_id FROM customers)
)
SELECT
    order_id, customer_id, order_status,
    {utc}(purchased_at{zone}) AS purchased_at,
    {utc}(approved_at{zone}) AS approved_at,
    {utc}(shipped_at{zone}) AS shipped_at,
    {utc}(delivered_at{zone}) AS delivered_at,
    CAST(estimated_at AS DATE) AS estimated_delivery_date,
    CAST(purchased_at AS DATE) AS order_date,
    CAST(delivered_at AS DATE) AS delivered_date,
    load_time, source_file, row_number
FROM ranked WHERE place = 1;

-- table: order_items
WITH typed AS (
    SELECT
        nullif(trim(order_id), '') AS order_id,
        order_item_id,
        nullif(trim(product_id), '') AS product_id,
        nullif(trim(seller_id), '') AS seller_id,
        shipping_limit_date AS shipping_limit_at,
        price, freight_value,
        load_time, source_file, row_number
    FROM bronze_order_items
),
ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY order_id, order_item_id ORDER BY load_time DESC, source_file DESC, row_number DESC
    ) AS place
    FROM typed
    WHERE order_item_id >= 1 AND price >= 0 AND freight_value >= 0
        AND (shipping_limit_at IS NULL OR shipping_limit_at BETWEEN {first} AND {end})
        AND order_id IN (SELECT order_id FROM orders)
        AND product_id IN (SELECT product_id FROM products)
        AND seller_id IN (SELECT seller_id FROM sellers)
)
SELECT
    order_id, order_item_id, product_id, seller_id, {utc}(shipping_limit_at{zone}) AS shipping_limit_at, price, freight_value,
    load_time, source_file, row_number
FROM ranked WHERE place = 1;

-- table: payments
WITH typed AS (
    SELECT
        nullif(trim(order_id), '') AS order_id, payment_sequential, lower(trim(payment_type)) AS payment_type,
        payment_installments, payment_value,
        load_time, source_file, row_number
    FROM bronze_order_payments
),
ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY order_id, payment_sequential ORDER BY load_time DESC, source_file DESC, row_number DESC
    ) AS place
    FROM typed
    WHERE payment_sequential >= 1 AND payment_type IN ({payment_types}) AND payment_value >= 0
        AND (payment_installments IS NULL OR payment_installments >= 0)
        AND order_id IN (SELECT order_id FROM orders)
)
SELECT
    order_id, payment_sequential, payment_type, payment_installments, payment_value, load_time, source_file, row_number
FROM ranked WHERE place = 1;

-- table: reviews
WITH typed AS (
    SELECT
        nullif(trim(review_id), '') AS review_id, nullif(trim(order_id), '') AS order_id, review_score,
        nullif(trim(review_comment_title), '') AS review_comment_title,
        nullif(trim(review_comment_message), '') AS review_comment_message,
        review_creation_date AS created_at, review_answer_timestamp AS answered_at,
        load_time, source_file, row_number
    FROM bronze_order_reviews
),
ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY order_id, review_id ORDER BY load_time DESC, source_file DESC, row_number DESC
    ) AS place
    FROM typed
    WHERE review_score BETWEEN 1 AND 5 AND created_at BETWEEN {first} AND {end}
        AND (answered_at IS NULL OR answered_at BETWEEN {first} AND {end})
        AND order_id IN (SELECT order_id FROM orders)
)
SELECT
    review_id, order_id, review_score, review_comment_title, review_comment_message,
    {utc}(created_at{zone}) AS created_at, {utc}(answered_at{zone}) AS answered_at,
    load_time, source_file, row_number
FROM ranked WHERE place = 1;

-- table: wide_sales
WITH paid_by_type AS (
    SELECT order_id, payment_type, sum(payment_value) AS paid, max(payment_installments) AS installments
    FROM payments GROUP BY order_id, payment_type
),
paid AS (
    SELECT
        order_id,
        CAST(sum(paid) AS DECIMAL(18, 2)) AS payment_total,
        max(installments) AS payment_installments,
        {first_by}(payment_type, {row}(-paid, payment_type)) AS payment_type,
        count(*) AS payment_types
    FROM paid_by_type GROUP BY order_id
),
reviewed AS (
    SELECT
        order_id,
        sum(review_score) * 1.0e0 / count(*) AS review_score_mean,
        {last_by}(review_score, {row}(coalesce(answered_at, created_at), review_score)) AS review_score_latest,
        count(*) AS reviews
    FROM reviews GROUP BY order_id
)
SELECT
    i.order_id, i.order_item_id, o.order_date, {month} AS order_month, o.order_status,
    o.purchased_at, o.approved_at, o.shipped_at, o.delivered_at, o.estimated_delivery_date,
    {days}(o.delivered_date, o.order_date) AS delivery_days,
    {days}(o.delivered_date, o.estimated_delivery_date) AS delay_days,
    o.delivered_date > o.estimated_delivery_date AS is_late,
    i.price, i.freight_value, i.product_id, p.category, coalesce(t.category_english, p.category) AS category_english,
    i.seller_id, s.seller_zip, s.seller_city, s.seller_state, sg.latitude AS seller_latitude, sg.longitude AS seller_longitude,
    o.customer_id, c.customer_unique_id, c.customer_zip, c.customer_city, c.customer_state,
    cg.latitude AS customer_latitude, cg.longitude AS customer_longitude,
    round(2 * 6371.0088 * asin(least(1.0e0, sqrt(
        pow(sin(radians(cg.latitude - sg.latitude) / 2), 2)
        + cos(radians(sg.latitude)) * cos(radians(cg.latitude)) * pow(sin(radians(cg.longitude - sg.longitude) / 2), 2)
    ))), 3) AS distance_km,
    paid.payment_total, paid.payment_installments, paid.payment_type, paid.payment_types,
    r.review_score_mean, r.review_score_latest, coalesce(r.reviews, 0) AS reviews
FROM order_items AS i
LEFT JOIN orders AS o ON o.order_id = i.order_id
LEFT JOIN customers AS c ON c.customer_id = o.customer_id
LEFT JOIN products AS p ON p.product_id = i.product_id
LEFT JOIN category_translation AS t ON t.category = p.category
LEFT JOIN sellers AS s ON s.seller_id = i.seller_id
LEFT JOIN geolocation AS sg ON sg.zip = s.seller_zip
LEFT JOIN geolocation AS cg ON cg.zip = c.customer_zip
LEFT JOIN paid ON paid.order_id = i.order_id
LEFT JOIN reviewed AS r ON r.order_id = i.order_id;

-- table: daily_sales
SELECT
    order_date, order_month, seller_id, category, category_english, customer_state,
    count(*) AS items,
    count(DISTINCT order_id) AS orders,
    CAST(sum(price) AS DECIMAL(18, 2)) AS revenue,
    CAST(sum(freight_value) AS DECIMAL(18, 2)) AS freight
FROM wide_sales
WHERE order_status NOT IN ('canceled', 'unavailable')
GROUP BY order_date, order_month, seller_id, category, category_english, customer_state;

-- table: customer_rfm
SELECT
    customer_unique_id,
    DATE '{as_of}' AS as_of,
    min(order_date) AS first_order_date,
    max(order_date) AS last_order_date,
    {days}(DATE '{as_of}', max(order_date)) AS recency_days,
    count(DISTINCT order_id) AS frequency,
    count(*) AS items,
    CAST(sum(price) AS DECIMAL(18, 2)) AS monetary
FROM wide_sales
WHERE order_status NOT IN ('canceled', 'unavailable') AND order_date < DATE '{as_of}' AND customer_unique_id IS NOT NULL
GROUP BY customer_unique_id;
