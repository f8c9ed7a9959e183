"""Raw files: text or parquet, plain or compressed, read into frames of bounded size."""
