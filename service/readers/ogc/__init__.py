"""What the OGC interfaces read: places and selections of a query, coverages, tiles and maps."""
