"""What people read in the workbooks, in the client's language: English, Spanish or Portuguese (of Brazil).

A word that has no translation is shown as its name with spaces: an attribute a contract invents (`customer_loyalty`)
reads "Customer loyalty" in every language.
"""

from __future__ import annotations

from typing import Any

LANGUAGES = ("en", "es", "pt")

Words = tuple[str, str, str]
"""The same in each of `LANGUAGES`."""

ARTEFACTS: dict[str, Words] = {
    "mba_rules": ("Rules", "Reglas", "Regras"),
    "mba_store": ("Store plan", "Plan de tienda", "Plano de loja"),
    "mba_carousel": ("Online carousel", "Carrusel en línea", "Carrossel online"),
    "mba_excluded": ("Excluded products", "Productos excluidos", "Produtos excluídos"),
    "clv_customers": ("Customer value", "Valor de los clientes", "Valor dos clientes"),
    "clv_missing_products": ("Missing products", "Productos que faltan", "Produtos em falta"),
    "anomaly_suspects": ("Suspects", "Sospechosos", "Suspeitos"),
    "anomaly_transactions": ("Transactions", "Transacciones", "Transações"),
    "anomaly_days": ("Days", "Días", "Dias"),
    "recommendations": ("Recommendations", "Recomendaciones", "Recomendações"),
    "similar_products": ("Similar products", "Productos similares", "Produtos similares"),
    "recommender_metrics": ("Quality", "Calidad", "Qualidade"),
}

COLUMNS: dict[str, Words] = {
    "age": ("Customer for (periods)", "Antigüedad (periodos)", "Tempo de casa (períodos)"),
    "amount": ("Amount", "Importe", "Valor"),
    "anomaly_group": ("Group", "Grupo", "Grupo"),
    "antecedent": ("Product bought", "Producto comprado", "Produto comprado"),
    "antecedent_group": ("Group of the product bought", "Grupo del producto comprado", "Grupo do produto comprado"),
    "antecedent_name": ("Name of the product bought", "Nombre del producto comprado", "Nome do produto comprado"),
    "antecedent_size": ("Products bought", "Productos comprados", "Produtos comprados"),
    "antecedent_support": ("Support of the product bought", "Soporte del comprado", "Suporte do comprado"),
    "clv": ("Customer lifetime value", "Valor de vida del cliente", "Valor vitalício do cliente"),
    "cluster_rank": ("Rank in the value group", "Puesto en el grupo de valor", "Posição no grupo de valor"),
    "cluster_share": ("Share of the value group", "Cuota en el grupo de valor", "Participação no grupo de valor"),
    "confidence": ("Confidence", "Confianza", "Confiança"),
    "consequent": ("Product recommended", "Producto recomendado", "Produto recomendado"),
    "consequent_group": ("Group of the product recommended", "Grupo del recomendado", "Grupo do recomendado"),
    "consequent_name": ("Name of the product recommended", "Nombre del recomendado", "Nome do recomendado"),
    "consequent_support": ("Support of the product recommended", "Soporte del recomendado", "Suporte do recomendado"),
    "conviction": ("Conviction", "Convicción", "Convicção"),
    "customer_age": ("Age", "Edad", "Idade"),
    "customer_category": ("Customer category", "Categoría del cliente", "Categoria do cliente"),
    "customer_city": ("City", "Ciudad", "Cidade"),
    "customer_family": ("Family", "Familia", "Família"),
    "customer_gender": ("Gender", "Género", "Gênero"),
    "customer_group": ("Customer group", "Grupo del cliente", "Grupo do cliente"),
    "customer_id": ("Customer", "Cliente", "Cliente"),
    "customer_salary": ("Salary", "Salario", "Salário"),
    "customer_type": ("Customer type", "Tipo de cliente", "Tipo de cliente"),
    "expected": ("Units expected", "Unidades esperadas", "Unidades esperadas"),
    "expected_average_value": ("Expected average purchase", "Compra media esperada", "Compra média esperada"),
    "expected_purchases": ("Expected purchases", "Compras esperadas", "Compras esperadas"),
    "frequency": ("Repeat purchases", "Compras repetidas", "Compras repetidas"),
    "is_anomaly": ("Anomaly", "Anomalía", "Anomalia"),
    "leverage": ("Leverage", "Apalancamiento", "Alavancagem"),
    "lift": ("Lift", "Lift", "Lift"),
    "lines": ("Sale lines", "Líneas de venta", "Linhas de venda"),
    "mean": ("Mean units a month", "Media de unidades al mes", "Média de unidades por mês"),
    "model": ("Model", "Modelo", "Modelo"),
    "monetary": ("Average purchase", "Compra media", "Compra média"),
    "months": ("Months of reference", "Meses de referencia", "Meses de referência"),
    "ndcg_at_10": ("NDCG@10", "NDCG@10", "NDCG@10"),
    "order_id": ("Order", "Pedido", "Pedido"),
    "p_alive": ("Probability of being active", "Probabilidad de seguir activo", "Probabilidade de estar ativo"),
    "p_value": ("p-value", "Valor p", "Valor p"),
    "position": ("Position", "Posición", "Posição"),
    "product_group": ("Product group", "Grupo de productos", "Grupo de produtos"),
    "product_id": ("Product", "Producto", "Produto"),
    "product_name": ("Product name", "Nombre del producto", "Nome do produto"),
    "q_value": ("q-value", "Valor q", "Valor q"),
    "quantity": ("Quantity", "Cantidad", "Quantidade"),
    "reason": ("Reason", "Motivo", "Motivo"),
    "recall_at_10": ("Recall@10", "Recall@10", "Recall@10"),
    "recency": (
        "First to last purchase (periods)",
        "De primera a última compra (periodos)",
        "Da 1ª à última compra (períodos)",
    ),
    "recommended_id": ("Product recommended", "Producto recomendado", "Produto recomendado"),
    "recommended_name": ("Name of the product recommended", "Nombre del recomendado", "Nome do recomendado"),
    "retention": ("Retention", "Retención", "Retenção"),
    "sale_date": ("Date", "Fecha", "Data"),
    "scale": ("Usual deviation", "Desviación habitual", "Desvio habitual"),
    "score": ("Score", "Puntuación", "Pontuação"),
    "similar_id": ("Similar product", "Producto similar", "Produto similar"),
    "similar_name": ("Name of the similar product", "Nombre del producto similar", "Nome do produto similar"),
    "source": ("Source", "Origen", "Origem"),
    "status": ("Status", "Estado", "Situação"),
    "std": ("Standard deviation", "Desviación estándar", "Desvio padrão"),
    "store": ("Store", "Tienda", "Loja"),
    "support": ("Support", "Soporte", "Suporte"),
    "threshold": ("Threshold", "Umbral", "Limite"),
    "transactions": ("Transactions", "Transacciones", "Transações"),
    "units": ("Units", "Unidades", "Unidades"),
    "users": ("Customers tested", "Clientes evaluados", "Clientes avaliados"),
    "value_group": ("Value group", "Grupo de valor", "Grupo de valor"),
    "z_score": ("Deviations above the mean", "Desviaciones sobre la media", "Desvios acima da média"),
    "zhang": ("Zhang's metric", "Métrica de Zhang", "Métrica de Zhang"),
}

LABELS: dict[str, Words] = {
    "notes": ("Notes", "Notas", "Notas"),
    "run": ("Run", "Ejecución", "Execução"),
    "parameters": ("Parameters", "Parámetros", "Parâmetros"),
    "excluded": ("Sale lines left out", "Líneas de venta excluidas", "Linhas de venda excluídas"),
    "none": ("none", "ninguno", "nenhum"),
    "yes": ("yes", "sí", "sim"),
    "no": ("no", "no", "não"),
}

NOTES: dict[str, dict[str, Words]] = {
    "run": {
        "client": ("Client", "Cliente", "Cliente"),
        "report_date": ("Report date", "Fecha del informe", "Data do relatório"),
        "engine": ("Engine", "Motor", "Motor"),
        "rows_in": ("Sale lines read", "Líneas de venta leídas", "Linhas de venda lidas"),
        "reason": ("Remark", "Observación", "Observação"),
    },
    "parameters": {
        "als_confidence": ("ALS: weight of a purchase", "ALS: peso de una compra", "ALS: peso de uma compra"),
        "als_factors": ("ALS: factors", "ALS: factores", "ALS: fatores"),
        "als_iterations": ("ALS: iterations", "ALS: iteraciones", "ALS: iterações"),
        "als_regularization": ("ALS: regularisation", "ALS: regularización", "ALS: regularização"),
        "carousel_max": (
            "Most recommendations, carousel",
            "Máximo de recomendaciones, carrusel",
            "Máximo de recomendações, carrossel",
        ),
        "categories": (
            "Product groups that take part",
            "Grupos de productos incluidos",
            "Grupos de produtos incluídos",
        ),
        "day_score": ("Score of an anomalous day", "Puntuación de un día anómalo", "Pontuação de um dia anômalo"),
        "denied_categories": (
            "Product groups left out",
            "Grupos de productos excluidos",
            "Grupos de produtos excluídos",
        ),
        "discount_rate": ("Discount rate", "Tasa de descuento", "Taxa de desconto"),
        "ease_products": ("EASE: most products", "EASE: máximo de productos", "EASE: máximo de produtos"),
        "ease_regularization": ("EASE: regularisation", "EASE: regularización", "EASE: regularização"),
        "exclude_bought": ("Leave out what was bought", "Omitir lo ya comprado", "Omitir o já comprado"),
        "history_months": ("Months of history", "Meses de historia", "Meses de histórico"),
        "horizon_months": ("Months ahead", "Meses a futuro", "Meses à frente"),
        "max_length": ("Most products in a set", "Máximo de productos por conjunto", "Máximo de produtos por conjunto"),
        "max_q_value": ("Greatest q-value", "Valor q máximo", "Valor q máximo"),
        "min_confidence": ("Least confidence", "Confianza mínima", "Confiança mínima"),
        "min_customers": (
            "Least customers of a product",
            "Mínimo de clientes por producto",
            "Mínimo de clientes por produto",
        ),
        "min_lift": ("Least lift", "Lift mínimo", "Lift mínimo"),
        "min_support": ("Least support", "Soporte mínimo", "Suporte mínimo"),
        "neighbours": ("Neighbours of a product", "Vecinos de un producto", "Vizinhos de um produto"),
        "per_customer": ("Recommendations per customer", "Recomendaciones por cliente", "Recomendações por cliente"),
        "seed": ("Random seed", "Semilla aleatoria", "Semente aleatória"),
        "shrinkage": ("Shrinkage", "Contracción", "Encolhimento"),
        "sigmas": ("Deviations above the mean", "Desviaciones sobre la media", "Desvios acima da média"),
        "similar": ("Similar products per product", "Similares por producto", "Similares por produto"),
        "store_max": (
            "Most recommendations, store plan",
            "Máximo de recomendaciones, plan de tienda",
            "Máximo de recomendações, plano de loja",
        ),
        "test_months": ("Months of the test", "Meses de la prueba", "Meses do teste"),
        "top_products": ("Products analysed", "Productos analizados", "Produtos analisados"),
    },
    "excluded": {
        "category_not_allowed": ("Product group left out", "Grupo de productos excluido", "Grupo de produtos excluído"),
        "invalid_customer_id": ("No valid customer", "Sin cliente válido", "Sem cliente válido"),
        "invalid_group": ("No group", "Sin grupo", "Sem grupo"),
        "invalid_order_id": ("No valid order", "Sin pedido válido", "Sem pedido válido"),
        "invalid_product_id": ("No valid product", "Sin producto válido", "Sem produto válido"),
        "invalid_quantity": ("No valid quantity", "Sin cantidad válida", "Sem quantidade válida"),
        "missing_amount": ("No amount", "Sin importe", "Sem valor"),
        "no_net_purchase": ("Returns only on that day", "Solo devoluciones ese día", "Apenas devoluções no dia"),
        "outside_period": ("Outside the period", "Fuera del periodo", "Fora do período"),
        "outside_top_products": ("Not among the best sold", "Fuera de los más vendidos", "Fora dos mais vendidos"),
        "return": ("Return or no quantity", "Devolución o sin cantidad", "Devolução ou sem quantidade"),
    },
}


def _pick(words: dict[str, Words], name: str, language: str) -> str:
    if language not in LANGUAGES:
        raise ValueError(f"no language {language!r}; there are {', '.join(LANGUAGES)}")
    known = words.get(name)
    return known[LANGUAGES.index(language)] if known else name.replace("_", " ").capitalize()


def artefact(name: str, language: str) -> str:
    """The title of a table."""
    return _pick(ARTEFACTS, name, language)


def column(name: str, language: str) -> str:
    """The heading of a column."""
    return _pick(COLUMNS, name, language)


def label(name: str, language: str) -> str:
    """A word of the workbook itself."""
    return _pick(LABELS, name, language)


def note(section: str, name: str, language: str) -> str:
    """What stands in front of a note: a parameter's name, or the reason why lines were left out."""
    return _pick(NOTES.get(section, {}), name, language)


def value(value: Any, language: str) -> str:
    """A note's value as text."""
    if value is None:
        return label("none", language)
    if isinstance(value, bool):
        return label("yes" if value else "no", language)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or label("none", language)
    if isinstance(value, (int, float)):
        number = f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"
        return number if language == "en" else number.translate(str.maketrans(",.", ".,"))
    return str(value)
