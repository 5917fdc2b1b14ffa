"""Contracts of the published tables: one YAML file a table, in the shape of the Open Data Contract Standard 3."""
