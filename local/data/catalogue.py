"""What a chain of pharmacies in Brazil sells, where, and to whom: the fixed part of the generated retail world.

Brands and the chain are invented; active ingredients and the ATC level-4 groups are real.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of product, sold by several brands in several presentations.

    `popularity` is relative; `atc` is the description of the ATC level-4 group, None for what is no medicine.
    """

    name: str
    group: str
    family: str
    sub_family: str
    atc: str | None
    price: float
    popularity: float
    presentations: tuple[str, ...]


def kinds() -> list[Kind]:
    """The kinds of product in `catalogue.csv`, in its order."""
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return [
            Kind(
                name=row["name"],
                group=row["group"],
                family=row["family"],
                sub_family=row["sub_family"],
                atc=row["atc"] or None,
                price=float(row["price"]),
                popularity=float(row["popularity"]),
                presentations=tuple(row["presentations"].split("|")),
            )
            for row in csv.DictReader(file)
        ]


BRANDS = {
    "Medicamentos isentos": ("Bemfar", "Ipê Farma", "Nordis", "Sanvida", "Genérico Aurora"),
    "Medicamentos tarjados": ("Genérico Aurora", "Bemfar", "Nordis", "Ipê Farma"),
    "Medicamentos controlados": ("Nordis", "Genérico Aurora", "Bemfar"),
    "Vitaminas e suplementos": ("Vitalis", "Forte Vida", "Sanvida", "Vitrine"),
    "Dermocosméticos": ("DermaSol", "Lumina", "Pele Clara", "Vitrine"),
    "Higiene oral": ("Sorriso Bom", "Dentalis", "Menta Viva", "Vitrine"),
    "Higiene e cuidados": ("Pura Flor", "Frescor", "Dia a Dia", "Vitrine"),
    "Cabelos": ("Capilare", "Pura Flor", "Fios de Ouro"),
    "Mamãe e bebê": ("Bebê Luar", "Ninho", "Pequenino", "Vitrine"),
    "Primeiros socorros": ("Cura Fácil", "Sanvida", "Vitrine"),
    "Conveniência": ("Serra Azul", "Bom Lanche", "Vitrine"),
    "Serviços": ("Vitrine",),
}
"""The brands of each product group, the strongest first; Vitrine is the chain's own."""

PAIRS = (
    ("Fralda infantil M", "Lenço umedecido", 0.45),
    ("Escova dental macia", "Fio dental", 0.40),
    ("Protetor solar FPS 50", "Loção pós-sol", 0.35),
    ("Xampu anticaspa", "Condicionador reparador", 0.35),
    ("Gaze estéril", "Esparadrapo", 0.30),
    ("Vitamina C 1 g", "Zinco quelado", 0.25),
    ("Álcool 70%", "Algodão hidrófilo", 0.25),
    ("Whey protein", "Creatina", 0.20),
    ("Preservativo", "Gel lubrificante íntimo", 0.20),
    ("Sabonete facial", "Água micelar", 0.15),
)
"""Kinds whose leading products are planted as associated, and how often who buys the first adds the second."""

SUSPICIOUS = (
    "Derivados da benzodiazepina",
    "Agentes relacionados às benzodiazepinas",
    "Alcaloides naturais do ópio",
    "Simpaticomiméticos de ação central",
    "Análogos do GLP-1",
    "Medicamentos usados na disfunção erétil",
)
"""ATC groups in which a customer with an anomalous last month is planted."""

SURGES = ("Mucolíticos", "Anilidas, associações", "Protetores contra a radiação UV, tópicos")
"""ATC groups in which a day of anomalous demand is planted."""


class Profile(NamedTuple):
    """A way of life: its share of the customers, their ages, and how much more they buy of some product groups."""

    name: str
    share: float
    age: tuple[int, int]
    affinity: dict[str, float]


PROFILES = (
    Profile("Geral", 0.22, (18, 80), {}),
    Profile("Família com bebê", 0.18, (22, 45), {"Mamãe e bebê": 20.0, "Medicamentos controlados": 0.4}),
    Profile(
        "Uso contínuo",
        0.24,
        (50, 92),
        {"Medicamentos tarjados": 9.0, "Medicamentos controlados": 5.0, "Mamãe e bebê": 0.1, "Conveniência": 0.5},
    ),
    Profile("Beleza", 0.21, (18, 60), {"Dermocosméticos": 10.0, "Cabelos": 9.0, "Medicamentos tarjados": 0.4}),
    Profile("Esporte", 0.15, (16, 50), {"Vitaminas e suplementos": 16.0, "Conveniência": 3.0, "Mamãe e bebê": 0.2}),
)


class City(NamedTuple):
    """A city with its centre in degrees, and its weight among the stores."""

    name: str
    state: str
    latitude: float
    longitude: float
    weight: float


CITIES = (
    City("São Paulo", "SP", -23.5505, -46.6333, 12.0),
    City("Rio de Janeiro", "RJ", -22.9068, -43.1729, 7.0),
    City("Belo Horizonte", "MG", -19.9167, -43.9345, 3.0),
    City("Campinas", "SP", -22.9056, -47.0608, 2.0),
    City("Curitiba", "PR", -25.4284, -49.2733, 2.0),
    City("Salvador", "BA", -12.9714, -38.5014, 2.0),
    City("Santos", "SP", -23.9608, -46.3336, 1.0),
    City("Niterói", "RJ", -22.8832, -43.1034, 1.0),
    City("Ribeirão Preto", "SP", -21.1775, -47.8103, 1.0),
    City("Juiz de Fora", "MG", -21.7642, -43.3496, 1.0),
)
