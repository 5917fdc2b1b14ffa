-- The web server's day: requests, clients, bytes, and the shares of answers that were errors.
CREATE OR REPLACE VIEW vitrine.web_report AS
WITH clients AS (
    SELECT
        dt,
        count(DISTINCT client) AS clients
    FROM vitrine_silver.web_logs
    GROUP BY dt
),

days AS (
    SELECT
        dt,
        sum(requests) AS requests,
        sum(bytes) AS bytes,
        sum(CASE WHEN status BETWEEN 400 AND 499 THEN requests ELSE 0 END) AS client_errors,
        sum(CASE WHEN status >= 500 THEN requests ELSE 0 END) AS server_errors
    FROM vitrine.status_requests
    GROUP BY dt
)

SELECT
    days.dt,
    days.requests,
    clients.clients,
    days.bytes,
    days.client_errors,
    days.server_errors,
    round(cast(days.client_errors + days.server_errors AS double) / days.requests, 4) AS error_rate
FROM days
INNER JOIN clients ON days.dt = clients.dt
