-- How many windows of some hours each layer has, of every rule, and of how many the two say different things, by cause.
WITH windows AS (
    {% for layer in reconcile.layers %}
        {% set last_layer = loop.last %}
        {% for rule in reconcile.rules %}
            SELECT
                '{{ layer }}' AS layer,
                '{{ rule.name }}' AS rule,
                count(*) AS windows
            FROM {{ rule[layer] }}
            WHERE {{ rule.only }}{{ reconcile.within }}
            {% if not (last_layer and loop.last) %}
                UNION ALL
            {% endif %}
        {% endfor %}
    {% endfor %}
),

of_rule AS (
    SELECT
        rule,
        sum(windows) FILTER (WHERE layer = 'speed') AS speed_windows,
        sum(windows) FILTER (WHERE layer = 'batch') AS batch_windows
    FROM windows
    GROUP BY rule
),

differing AS (
    SELECT
        rule,
        count_if(cause = 'late') AS late,
        count_if(cause = 'missing') AS missing,
        count_if(cause = 'duplicate') AS duplicate,
        count_if(cause = 'value') AS other
    FROM vitrine.reconcile
    WHERE {{ reconcile.within }}
    GROUP BY rule
)

SELECT
    of_rule.rule,
    of_rule.speed_windows,
    of_rule.batch_windows,
    coalesce(differing.late, 0) AS late,
    coalesce(differing.missing, 0) AS missing,
    coalesce(differing.duplicate, 0) AS duplicate,
    coalesce(differing.other, 0) AS other
FROM of_rule
LEFT JOIN differing ON of_rule.rule = differing.rule
