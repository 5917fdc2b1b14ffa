-- Some days of the web server, as the view web_report has them.
SELECT
    dt,
    requests,
    clients,
    bytes,
    client_errors,
    server_errors,
    error_rate
FROM vitrine.web_report
WHERE dt IN ({{ report.days }})
ORDER BY dt
