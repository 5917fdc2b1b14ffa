"""What `task` says to a template while sqlfluff looks at it."""

target = "'@RETAIL.PUBLIC.VITRINE_LAKE/sales/'"
