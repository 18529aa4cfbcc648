"""One module a page: its layout, the parts that are pushed to it, and its few callbacks."""
