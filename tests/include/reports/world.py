"""A world small enough to check by hand: rows of the tables as the analyses make them."""

from datetime import datetime, timedelta

ZONE = "America/Fortaleza"
NASTY = "</script><b>Café & Söhne</b>"
USER, OTHER = "a" * 32, "b" * 32
HOME = (-3.73, -38.52)


def place(which, name, category="cafés", latitude=HOME[0], longitude=HOME[1]):
    return {
        "establishment_id": which,
        "name": name,
        "category": category,
        "latitude": latitude,
        "longitude": longitude,
    }


def rate(campaign, establishment, views, clicks, rank, month="all", category="cafés"):
    return {
        "campaign_id": campaign,
        "establishment_id": establishment,
        "category": category,
        "month": month,
        "views": views,
        "clicks": clicks,
        "people": None if views is None else 50,
        "rank": rank,
        "ctr": None if views is None else clicks / views,
        "low": None if views is None else clicks / views * 0.8,
        "high": None if views is None else clicks / views * 1.25,
        "suppressed": views is None,
    }


def visited(establishment, visits, month="all", category="cafés"):
    figures = {"visits": visits, "stays": visits and visits // 5, "people": visits and 9}
    return {
        "establishment_id": establishment,
        "category": category,
        "month": month,
        **figures,
        "suppressed": visits is None,
    }


def attributed(establishment, visits, clicked, viewed, month="all", category="cafés"):
    hidden = visits is None
    return {
        "establishment_id": establishment,
        "category": category,
        "month": month,
        "visits": visits,
        "click_through": clicked,
        "view_through": viewed,
        "attributed": None if hidden else clicked + viewed,
        "people": None if hidden else 9,
        "share": None if hidden else (clicked + viewed) / visits,
        "suppressed": hidden,
    }


def lifted(establishment, lift, low, high, month="all"):
    return {
        "establishment_id": establishment,
        "month": month,
        "exposed": 100,
        "exposed_rate": 0.1 + lift,
        "unexposed_rate": 0.1,
        "lift": lift,
        "low": low,
        "high": high,
        "suppressed": False,
    }


def hour(category, at, interactions, month="all"):
    hidden = interactions is None
    views = None if hidden else interactions - 1
    return {
        "category": category,
        "hour": at,
        "month": month,
        "interactions": interactions,
        "views": views,
        "clicks": None if hidden else 1,
        "people": None if hidden else 7,
        "suppressed": hidden,
    }


def liked(user, period, category, interactions, share, preferred, month="all"):
    return {
        "user_id": user,
        "month": month,
        "period": period,
        "category": category,
        "interactions": interactions,
        "share": share,
        "preferred": preferred,
    }


def gone(user, weekday, category, visits, share, preferred, month="all"):
    return {
        "user_id": user,
        "month": month,
        "weekday": weekday,
        "category": category,
        "visits": visits,
        "share": share,
        "preferred": preferred,
    }


def walk(user, steps, start=datetime(2026, 7, 14, 12), minutes=2):
    """Records at latitudes and longitudes, one every few minutes."""
    return [
        {"user_id": user, "latitude": at[0], "longitude": at[1], "moment": start + timedelta(minutes=minutes * n)}
        for n, at in enumerate(steps)
    ]


TABLES = {
    "campaign_ctr": [
        rate("C1", "E1", 200, 10, 2),
        rate("C2", "E2", 400, 40, 1),
        rate("C3", "E3", None, None, None),
        rate("C4", "E1", 20, 19, None),
        rate("C2", "E2", 30, 3, None, "2026-07"),
    ],
    "establishment_visits": [
        visited("E1", 90),
        visited("E2", 120),
        visited("E3", None),
        visited("E2", None, "2026-07"),
    ],
    "attribution": [attributed("E1", 90, 9, 36), attributed("E2", 120, 12, 12), attributed("E3", None, None, None)],
    "visit_lift": [lifted("E1", 0.05, 0.01, 0.09), lifted("E2", 0.02, -0.01, 0.05)],
    "category_hours": [
        hour("cafés", 3, None),
        hour("cafés", 8, 40),
        hour("cafés", 9, 25),
        hour("games", 21, 60),
        hour("games", 3, None, "2026-07"),
    ],
    "interaction_profile": [
        liked(USER, "morning", "cafés", 30, 0.75, True),
        liked(USER, "morning", "games", 10, 0.25, False),
    ],
    "visit_profile": [gone(USER, 2, "cafés", 3, 1.0, True)],
    "establishments": [
        place("E1", NASTY, longitude=-38.50),
        place("E2", "Farol", "games", -3.74, -38.51),
        place("E3", "Porto", "games", -3.75, -38.53),
    ],
    "campaigns": [
        {"campaign_id": "C1", "ad_id": "C1-A", "establishment_id": "E1", "category": "cafés"},
        {"campaign_id": "C2", "ad_id": "C2-A", "establishment_id": "E2", "category": "games"},
    ],
    # Along the parallel to E1, 111 m every two minutes.
    "location_records": walk(USER, [(HOME[0], -38.506 + 0.001 * n) for n in range(6)]) + walk(OTHER, [HOME, HOME]),
}
