-- The hours of some days of the web server: requests, bytes, and the answers that were errors.
SELECT
    dt,
    hour,
    sum(requests) AS requests,
    sum(bytes) AS bytes,
    sum(CASE WHEN status BETWEEN 400 AND 499 THEN requests ELSE 0 END) AS client_errors,
    sum(CASE WHEN status >= 500 THEN requests ELSE 0 END) AS server_errors
FROM vitrine.status_requests
WHERE dt IN ({{ report.days }})
GROUP BY dt, hour
ORDER BY dt, hour
