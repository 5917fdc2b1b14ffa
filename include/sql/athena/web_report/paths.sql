-- The paths of some days with the most requests, as the view top_urls has them.
SELECT
    dt,
    place,
    path,
    requests,
    errors,
    bytes
FROM vitrine.top_urls
WHERE dt IN ({{ report.days }}) AND place <= {{ report.paths }}
ORDER BY dt, place
