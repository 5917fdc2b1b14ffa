"""What `ti` says to a template while sqlfluff looks at it: the values of a plausible run."""

_RUN = {
    "client": "drogaria",
    "start": "2025-01-01",
    "end": "2026-02-01",
    "view": ["RETAIL", "DROGARIA", "SALES"],
    "roles": {"product_id": "product_id", "sale_date": "sale_date", "quantity": "sale_unity", "amount": "sale_price"},
}


def xcom_pull(task_ids, key=None):
    return _RUN[key] if key else {"version": "20260201T000000-0a1b2c3d-1"}
