"""AWS on a laptop: moto answers the APIs, and backends plugged into it execute what they are asked to do."""
