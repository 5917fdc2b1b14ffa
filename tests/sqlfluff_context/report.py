"""What `report` says to a template while sqlfluff looks at it: two days."""

days = "DATE '2026-03-01', DATE '2026-03-02'"
paths = 20
