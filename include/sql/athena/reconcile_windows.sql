-- Windows of some hours of which the speed layer and the batch layer say different things, and why; of every rule.
WITH
{% for layer in reconcile.layers %}
    {{ layer }} AS (
        {% for rule in reconcile.rules %}
            SELECT
                dt,
                hour,
                window_start,
                '{{ rule.name }}' AS rule,
                {{ rule.key }} AS window_key,
                {{ rule.counted }} AS counted,
                {{ rule.said }} AS said
            FROM {{ rule[layer] }}
            WHERE {{ rule.only }}{{ reconcile.within }}
            {% if not loop.last %}
                UNION ALL
            {% endif %}
        {% endfor %}
    ),
{% endfor %}

differing AS (
    SELECT
        speed.said AS speed_value,
        batch.said AS batch_value,
        coalesce(batch.rule, speed.rule) AS rule,
        coalesce(batch.window_start, speed.window_start) AS window_start,
        coalesce(batch.window_key, speed.window_key) AS window_key,
        coalesce(speed.counted, 0) AS speed_count,
        coalesce(batch.counted, 0) AS batch_count,
        coalesce(batch.dt, speed.dt) AS dt,
        coalesce(batch.hour, speed.hour) AS hour
    FROM speed
    FULL OUTER JOIN batch
        ON
            speed.rule = batch.rule
            AND speed.window_start = batch.window_start
            AND speed.window_key = batch.window_key
    WHERE speed.said IS DISTINCT FROM batch.said
),

beside_late AS (
    SELECT
        differing.*,
        coalesce(late.late_events, 0) AS late_events
    FROM differing
    LEFT JOIN vitrine_silver.speed_late AS late
        ON
            differing.dt = late.dt
            AND differing.hour = late.hour
            AND differing.rule = late.rule
            AND differing.window_start = late.window_start
            AND differing.window_key = late.window_key
),

explained AS (
    SELECT
        *,
        CASE
            WHEN speed_count > batch_count THEN 'duplicate'
            WHEN speed_count + late_events < batch_count THEN 'missing'
            WHEN late_events > 0 THEN 'late'
            ELSE 'value'
        END AS cause
    FROM beside_late
)

SELECT
    rule,
    window_start,
    window_key,
    speed_value,
    batch_value,
    speed_count,
    batch_count,
    late_events,
    cause,
    dt,
    hour
FROM explained
