"""What `ti` says to a template while sqlfluff looks at it: the values of a plausible run."""

map_index = 0

_RUN = {
    "client": "drogaria",
    "start": "2025-01-01",
    "end": "2026-02-01",
    "view": ["RETAIL", "DROGARIA", "SALES"],
    "roles": {"product_id": "product_id", "sale_date": "sale_date", "quantity": "sale_unity", "amount": "sale_price"},
}

_GOLD = {
    "table": "customer_rfm",
    "version": "s3://vitrine-lake/gold/customer_rfm/v=20260201T000000-0a1b2c3d-1/",
    "money": {"monetary": "1.00"},
    "columns": [
        {"name": "customer_unique_id", "type": "VARCHAR(256)", "required": True},
        {"name": "monetary", "type": "NUMERIC(18, 2)", "required": True},
    ],
}
_SCORES = {
    "target": "clv_customers",
    "staging": "clv_customers_drogaria_staging",
    "stage": "products",
    "files": "drogaria/2026-02-01/v=20260201T000000-0a1b2c3d-1/clv-1/clv_customers/",
    "money": {"clv": "1.00"},
    "scope": {"client": "drogaria", "report_date": "2026-02-01"},
    "key": ["client", "customer_id"],
    "columns": [
        {"name": "client", "type": "VARCHAR", "required": True},
        {"name": "report_date", "type": "DATE", "required": True},
        {"name": "customer_id", "type": "VARCHAR", "required": True},
        {"name": "clv", "type": "FLOAT", "required": False},
    ],
}

_RETURNED = {
    "extract.register": {"version": "20260201T000000-0a1b2c3d-1"},
    "plan_redshift": [_GOLD],
    "plan_snowflake": [_SCORES],
}


def xcom_pull(task_ids, key=None):
    return _RUN[key] if key else _RETURNED[task_ids]
