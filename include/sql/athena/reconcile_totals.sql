-- How many windows of some hours each layer has, of every rule, and of how many the two say different things, by cause.
WITH speed_windows AS (
    {% for rule in reconcile.rules %}
        SELECT
            '{{ rule.name }}' AS rule,
            count(*) AS windows
        FROM {{ rule.speed }}
        WHERE {{ rule.only }}{{ reconcile.within }}
        {% if not loop.last %}
            UNION ALL
        {% endif %}
    {% endfor %}
),

batch_windows AS (
    {% for rule in reconcile.rules %}
        SELECT
            '{{ rule.name }}' AS rule,
            count(*) AS windows
        FROM {{ rule.batch }}
        WHERE {{ rule.only }}{{ reconcile.within }}
        {% if not loop.last %}
            UNION ALL
        {% endif %}
    {% endfor %}
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
    speed_windows.rule,
    speed_windows.windows AS speed_windows,
    batch_windows.windows AS batch_windows,
    coalesce(differing.late, 0) AS late,
    coalesce(differing.missing, 0) AS missing,
    coalesce(differing.duplicate, 0) AS duplicate,
    coalesce(differing.other, 0) AS other
FROM speed_windows
INNER JOIN batch_windows ON speed_windows.rule = batch_windows.rule
LEFT JOIN differing ON speed_windows.rule = differing.rule
