{#- Makes the target's rows of one client, or all of them, those of the staging table. -#}
{%- set load = ti.xcom_pull("plan_snowflake")[ti.map_index] -%}
{%- set names = load["columns"] | map(attribute="name") | list -%}
{%- set keys = load["key"] | reject("in", load["scope"]) | list -%}
MERGE INTO retail.vitrine.{{ load["target"] }} AS held
USING (
    WITH known AS (
        SELECT {{ keys | join(", ") }}
        FROM retail.vitrine.{{ load["target"] }}
        {%- if "client" in load["scope"] %}
        WHERE client = '{{ load["scope"]["client"] }}'
        {%- endif %}
    )

    SELECT
        {%- for column in load["columns"] %}
        {%- set name = column["name"] %}
        {%- if name in load["scope"] %}
        CAST('{{ load["scope"][name] }}' AS {{ column["type"] }}) AS {{ name }},
        {%- elif name in keys %}
        COALESCE(fresh.{{ name }}, known.{{ name }}) AS {{ name }},
        {%- else %}
        fresh.{{ name }},
        {%- endif %}
        {%- endfor %}
        fresh.{{ keys[0] }} IS NULL AS is_gone
    FROM retail.vitrine.{{ load["staging"] }} AS fresh
    FULL OUTER JOIN known
        ON
            TRUE
            {%- for key in keys %}
            AND fresh.{{ key }} = known.{{ key }}
            {%- endfor %}
) AS given
    ON
        TRUE
        {%- for key in load["key"] %}
        AND held.{{ key }} = given.{{ key }}
        {%- endfor %}
WHEN MATCHED AND given.is_gone THEN DELETE
WHEN MATCHED AND (
    FALSE
    {%- for name in names if name not in load["key"] %}
    OR held.{{ name }} IS DISTINCT FROM given.{{ name }}
    {%- endfor %}
) THEN UPDATE SET
    {%- for name in names if name not in load["key"] %}
    {{ name }} = given.{{ name }}{{ "," if not loop.last }}
    {%- endfor %}
WHEN NOT MATCHED THEN INSERT (
    {%- for name in names %}
    {{ name }}{{ "," if not loop.last }}
    {%- endfor %}
)
VALUES (
    {%- for name in names %}
    given.{{ name }}{{ "," if not loop.last }}
    {%- endfor %}
)
