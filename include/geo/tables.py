"""The tables of the geo lake, and the analyses that make them."""

REFERENCE = ("establishments", "campaigns")
"""Tables of bronze by delivery, of which the latest delivery counts."""
RECORDS = ("location_records", "ad_interactions")
"""Tables of bronze by month and delivery."""
REFERRING = ("campaigns", "ad_interactions")
"""Tables of bronze whose rows are rejected where their establishment is unknown."""
VISITS = ("visits", "active_days")
"""Tables that are made of location records, month by month."""
ANALYSES = {
    "ctr": ("campaign_ctr",),
    "visits": ("establishment_visits",),
    "attribution": ("attributed_visits", "attribution"),
    "lift": ("visit_lift",),
    "attractiveness": ("category_hours",),
    "interaction_profile": ("interaction_profile",),
    "visit_profile": ("visit_profile",),
}
"""Analysis, as the job takes it → tables that it makes of all months."""
PEOPLE = ("attributed_visits", "interaction_profile", "visit_profile")
"""Those of them with a row a person, which are not published to strangers."""
ANALYSED = tuple(name for names in ANALYSES.values() for name in names)
PUBLISHED = tuple(name for name in ANALYSED if name not in PEOPLE)
"""Those of cells of at least five people."""
ANCHOR = "active_days"
"""The one of them that every month with records has: its months note what both were made of; it is published last."""
