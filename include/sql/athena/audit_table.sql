-- One row: of each check, how many rows (or how much money, or how many days) it finds wrong; and the number of rows.
SELECT
    {% for check in audit.checks %}
        {% if check.kind == "required" %}
            count_if("{{ check.column }}" IS NULL) AS {{ check.name }},
        {% elif check.kind == "accepted" %}
            count_if("{{ check.column }}" NOT IN ({{ check.values }})) AS {{ check.name }},
        {% elif check.kind == "minimum" %}
            count_if("{{ check.column }}" < {{ check.values }}) AS {{ check.name }},
        {% elif check.kind == "maximum" %}
            count_if("{{ check.column }}" > {{ check.values }}) AS {{ check.name }},
        {% elif check.kind == "unique" %}
            count(*) - (
                SELECT count(*)
                FROM (SELECT DISTINCT {{ check.values }} FROM {{ audit.relation }}) AS distinct_keys
            ) AS {{ check.name }},
        {% elif check.kind == "sql" %}
            (
                {{ check.query | indent(16) }}
            ) AS {{ check.name }},
        {% elif check.kind == "fresh" %}
            date_diff('day', max("{{ check.column }}"), {{ check.values }}) AS {{ check.name }},
        {% endif %}
    {% endfor %}
    count(*) AS "rows"
FROM {{ audit.relation }}
